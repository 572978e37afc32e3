import type { SentDocument } from "./apis.ts";
import { type TextPart, textParts } from "./text-parts.ts";

/** What one request may hold (learn.microsoft.com, data limits of the Language service); v2 takes more. */
const maxDocuments = 10;
const maxBytes = 1_000_000;
/** Of a request, what stands around its documents; and of a document, around its text. */
const requestBytes = 256;
const documentBytes = 96;

export interface Document {
  readonly text: string;
  /** Without it the configured one. */
  readonly language?: string | undefined;
}

export interface SentPart extends TextPart {
  /** Number of its document. */
  readonly document: number;
  readonly sent: SentDocument;
}

/** What is sent, request by request. Lazy, as the parts are. */
export function* batches(documents: readonly Document[], language: string): Generator<readonly SentPart[]> {
  let batch: SentPart[] = [];
  let bytes = requestBytes;
  for (const [document, { text, language: own = language }] of documents.entries()) {
    // Half of a surrogate pair is no text that could be sent.
    for (const part of textParts(text.toWellFormed())) {
      const more = Buffer.byteLength(JSON.stringify(part.text)) + documentBytes;
      if (batch.length === maxDocuments || bytes + more > maxBytes) {
        yield batch;
        batch = [];
        bytes = requestBytes;
      }
      const sent = { id: String(batch.length + 1), language: own, text: part.text };
      batch.push({ ...part, document, sent });
      bytes += more;
    }
  }
  if (batch.length > 0) yield batch;
}
