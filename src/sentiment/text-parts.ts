/** What a document may hold, in text elements (learn.microsoft.com, data limits of the Language service). */
export const maxElements = 5_120;
/** And in UTF-16 units, because a text element has no bound; as JSON it is at most six times as many bytes. */
const maxUnits = 100_000;

export interface TextPart {
  readonly text: string;
  readonly elements: number;
}

/** Text elements are grapheme clusters: what .NET counts (`StringInfo`), and a reader takes for a character. */
let segmenter: Intl.Segmenter | undefined;

/**
 * The parts of a text, which together are the text. It is cut behind a sentence, or else behind a word, where there is
 * one in the second half of what fits. Lazy: a long text takes a while, and who sends the parts waits in between.
 */
export function* textParts(text: string, limit = maxElements): Generator<TextPart> {
  // No text has more elements than units; how many exactly, nobody needs to know of one that stays whole.
  if (text.length <= limit) {
    yield { text, elements: text.length };
    return;
  }
  for (let at = 0; at < text.length; ) {
    const part = nextPart(text.slice(at, at + maxUnits), limit, at + maxUnits >= text.length);
    yield part;
    at += part.text.length;
  }
}

/** `isRest`: nothing follows `text`. */
function nextPart(text: string, limit: number, isRest: boolean): TextPart {
  segmenter ??= new Intl.Segmenter(undefined, { granularity: "grapheme" });
  let elements = 0;
  let word: TextPart | undefined;
  let sentence: TextPart | undefined;
  let before = "";
  for (const { segment, index } of segmenter.segment(text)) {
    if (elements === limit) return sentence ?? word ?? { text: text.slice(0, index), elements };
    elements++;
    const isSpace = /^\s/u.test(segment);
    if (elements > limit / 2) {
      const here = () => ({ text: text.slice(0, index + segment.length), elements });
      if (isSpace) word = here();
      if (/^(\r?\n|[。！？])/u.test(segment) || (isSpace && /[.!?…]["'”’)\]]?$/u.test(before)))
        sentence = here();
    }
    before = isSpace ? segment : (before + segment).slice(-4);
  }
  if (isRest) return { text, elements };
  // Ended by the units: the last element may go on behind them, and a pair of surrogates must not be cut.
  return sentence ?? word ?? whole(text, elements);
}

function whole(text: string, elements: number): TextPart {
  const last = text.charCodeAt(text.length - 1);
  const isHalf = last >= 0xd800 && last <= 0xdbff;
  return { text: isHalf ? text.slice(0, -1) : text, elements };
}
