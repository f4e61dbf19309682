/**
 * The status page's script, as it is served. It is a file that browsers run as it is; the compiler copies it beside this one.
 */
import { readFileSync } from 'node:fs';

export const STATUS_SCRIPT = readFileSync(new URL('page/status-page.js', import.meta.url), 'utf8');
