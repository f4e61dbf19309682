/** Strong digests of contents. */
declare const digestBrand: unique symbol;

/** 32 bytes. BLAKE3-256 or SHA-256, whichever the folder uses; never mixed inside a folder. */
export type Digest = Buffer & { readonly [digestBrand]: true };
