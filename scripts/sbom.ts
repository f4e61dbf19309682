/**
 * The software bill of materials: CycloneDX 1.6 in JSON, from package.json and the lock file alone, so that it says what `npm ci` installs
 * and the same input gives the same bytes. Packages of development have the scope "excluded": they are not shipped.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';

export interface LockedPackage {
  readonly version?: string;
  readonly integrity?: string;
  readonly license?: string;
  readonly dev?: boolean;
  readonly optional?: boolean;
  readonly devOptional?: boolean;
  readonly hasInstallScript?: boolean;
  /** Where it can run; everywhere when it does not say. */
  readonly os?: readonly string[];
  readonly cpu?: readonly string[];
  readonly libc?: readonly string[];
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

export interface LockFile {
  readonly name: string;
  readonly version: string;
  /** By place: "node_modules/a/node_modules/b"; '' is the project itself. */
  readonly packages: Readonly<Record<string, LockedPackage>>;
}

export interface Component {
  readonly type: 'library' | 'application';
  readonly 'bom-ref': string;
  readonly name: string;
  readonly version: string;
  readonly purl: string;
  readonly scope?: 'required' | 'optional' | 'excluded';
  readonly hashes?: readonly { readonly alg: 'SHA-512'; readonly content: string }[];
  readonly licenses?: readonly ({ readonly license: { readonly id: string } } | { readonly expression: string })[];
}

export interface Bom {
  readonly $schema: string;
  readonly bomFormat: 'CycloneDX';
  readonly specVersion: '1.6';
  readonly serialNumber: string;
  readonly version: 1;
  readonly metadata: { readonly component: Component };
  readonly components: readonly Component[];
  readonly dependencies: readonly { readonly ref: string; readonly dependsOn: readonly string[] }[];
}

const NESTED = 'node_modules/';

/** Pure. `text` is the lock file as it lies on the disk. */
export function sbomOf(text: string): Bom {
  const lock = JSON.parse(text) as LockFile;
  const places = Object.keys(lock.packages).filter((place) => place !== '');
  const own = componentOf(
    lock.name,
    { version: lock.version, license: lock.packages['']?.license ?? '' },
    'application',
  );
  const components = new Map(
    places.map((place) => {
      const component = componentOf(nameAt(place), lock.packages[place] ?? {}, 'library');
      return [component['bom-ref'], component] as const;
    }),
  );
  const edges = new Map<string, Set<string>>();
  for (const place of ['', ...places]) {
    const from = place === '' ? own['bom-ref'] : purlAt(lock, place);
    const { dependencies, optionalDependencies } = lock.packages[place] ?? {};
    const targets = edges.get(from) ?? new Set<string>();
    for (const name of Object.keys({ ...dependencies, ...optionalDependencies })) {
      const found = resolvedPlace(lock, place, name);
      if (found !== undefined) targets.add(purlAt(lock, found));
    }
    edges.set(from, targets);
  }
  const sorted = (values: Iterable<string>) => [...values].toSorted();
  return {
    $schema: 'http://cyclonedx.org/schema/bom-1.6.schema.json',
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    serialNumber: `urn:uuid:${uuidOf(text)}`,
    version: 1,
    metadata: { component: own },
    components: sorted(components.keys()).flatMap((ref) => components.get(ref) ?? []),
    dependencies: sorted(edges.keys()).map((ref) => ({ ref, dependsOn: sorted(edges.get(ref) ?? []) })),
  };
}

function componentOf(name: string, locked: LockedPackage, type: Component['type']): Component {
  const { version = '0.0.0', integrity, license } = locked;
  const purl = `pkg:npm/${name.replace('@', '%40')}@${version}`;
  const digest = integrity?.startsWith('sha512-') === true ? integrity.slice('sha512-'.length) : undefined;
  return {
    type,
    'bom-ref': purl,
    name,
    version,
    purl,
    ...(type === 'library' ? { scope: scopeOf(locked) } : {}),
    ...(digest === undefined
      ? {}
      : { hashes: [{ alg: 'SHA-512' as const, content: Buffer.from(digest, 'base64').toString('hex') }] }),
    ...(license === undefined || license === ''
      ? {}
      : { licenses: [/[ ()]/.test(license) ? { expression: license } : { license: { id: license } }] }),
  };
}

function scopeOf({ dev, optional, devOptional }: LockedPackage): NonNullable<Component['scope']> {
  if (dev === true) return 'excluded';
  return optional === true || devOptional === true ? 'optional' : 'required';
}

function nameAt(place: string): string {
  return place.slice(place.lastIndexOf(NESTED) + NESTED.length);
}

function purlAt(lock: LockFile, place: string): string {
  return componentOf(nameAt(place), lock.packages[place] ?? {}, 'library').purl;
}

/** Where Node finds a package that is required from a place: the nearest node_modules upwards. */
function resolvedPlace(lock: LockFile, from: string, name: string): string | undefined {
  const upwards = from === '' ? [''] : [...enclosing(from), ''];
  return upwards
    .map((base) => `${base === '' ? '' : `${base}/`}${NESTED}${name}`)
    .find((place) => place in lock.packages);
}

/** "node_modules/a/node_modules/b": itself, then "node_modules/a". */
function enclosing(place: string): readonly string[] {
  const end = place.lastIndexOf(`/${NESTED}`);
  return end < 0 ? [place] : [place, ...enclosing(place.slice(0, end))];
}

/** The same lock file is the same bill: a UUID from its digest (RFC 9562, version 8). */
function uuidOf(text: string): string {
  const bytes = createHash('sha256').update(text).digest().subarray(0, 16);
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x80;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

if (import.meta.main) {
  const text = readFileSync(resolve(import.meta.dirname, '../package-lock.json'), 'utf8');
  process.stdout.write(`${JSON.stringify(sbomOf(text), null, 2)}\n`);
}
