/**
 * What a client certificate allows, written into it as a URI: `lockstep:SCOPE:FOLDER`, the folder percent-encoded. A
 * certificate may carry several; one without any allows everything, because the operator's own authority may know nothing of us. Pure.
 */
import { SCOPES, type Scope } from './token.ts';

export interface Grant {
  readonly scope: Scope;
  readonly folder: string;
}

const SCHEME = 'lockstep:';
const PATTERN = /^lockstep:([a-z]+):([A-Za-z0-9_.~%-]+)$/;

export function grantUri({ scope, folder }: Grant): string {
  const name = encodeURIComponent(folder).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16)}`);
  return `${SCHEME}${scope}:${name}`;
}

/**
 * `subjectAltName` as Node writes it: "URI:lockstep:write:default, DNS:host", with what could be mistaken for another name in quotes.
 * @returns undefined for a certificate that says nothing about it; what cannot be read grants nothing (S16)
 */
export function grantsOf(subjectAltName: string | undefined): readonly Grant[] | undefined {
  if (subjectAltName?.includes(SCHEME) !== true) return undefined;
  return subjectAltName.split(', ').flatMap((name) => {
    const [, scopeText, folder] = PATTERN.exec(name.replace(/^URI:/, '')) ?? [];
    const scope = SCOPES.find((known) => known === scopeText);
    if (scope === undefined || folder === undefined || !name.startsWith('URI:')) return [];
    try {
      return [{ scope, folder: decodeURIComponent(folder) }];
    } catch {
      // A stray "%" is no name that we wrote.
      return [];
    }
  });
}
