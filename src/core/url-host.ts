/** Of a URL, as a connection takes it: without the brackets that an address of IPv6 has there (RFC 3986 section 3.2.2). */
export const hostOf = ({ hostname }: URL): string => hostname.replace(/^\[(.*)\]$/, "$1");
