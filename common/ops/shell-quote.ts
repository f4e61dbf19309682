/** A word as bash, zsh and every other shell in POSIX's tradition take it literally; fish does not. */
export function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
