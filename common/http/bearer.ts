/** How a question over HTTP shows who asks. */

/** What came as a bearer token: in the header itself, or as the password of Basic, because that is what browsers ask for. */
export function bearerOf(header: string | undefined): string | undefined {
  const basic = /^Basic +([A-Za-z0-9+/=]+)$/i.exec(header ?? '')?.[1];
  if (basic === undefined) return header;
  const password = /^[^:]*:(.*)$/s.exec(Buffer.from(basic, 'base64').toString('latin1'))?.[1] ?? '';
  // What cannot be a token must not become another header.
  return /^[\w.~+/=-]+$/.test(password) ? `Bearer ${password}` : 'Bearer -';
}
