/**
 * The status page: HTML without a script. Every text that somebody else chose is escaped (S28). Pure.
 */
import { createHash } from 'node:crypto';
import { formatBytes, formatDuration } from '../../../common/ops/units.ts';
import type { FolderStatus, ServerStatus } from './server-status.ts';

const STYLE = `
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { margin: 2rem auto; max-width: 60rem; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .4rem .8rem .4rem 0; border-bottom: 1px solid #8884; vertical-align: top; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
.ready { color: #2a8a3e; } .degraded, .recovering, .draining, .starting { color: #c05a00; }
small { opacity: .7; }
`;

const STYLE_HASH = createHash('sha256').update(STYLE).digest('base64');

/** Nothing may be loaded, run or framed; only the one style sheet of the page itself applies. */
export const STATUS_PAGE_POLICY = `default-src 'none'; style-src 'sha256-${STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;

export function statusPage(status: ServerStatus): string {
  const uptime = formatDuration(status.uptimeSeconds * 1000);
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta http-equiv="refresh" content="5"><title>sync-server</title><style>${STYLE}</style></head>
<body>
<h1>sync-server <small>${escapeHtml(status.version)}</small></h1>
<p><strong class="${status.state}">${status.state}</strong> <small>for ${escapeHtml(uptime)}</small></p>
<table>
<tr><th>Folder</th><th>State</th><th class="number">Revision</th><th class="number">Entries</th><th class="number">Bytes</th><th>Written by</th></tr>
${status.folders.map(folderRow).join('\n')}
</table>
<p><a href="/api/status">JSON</a> · <a href="/metrics">metrics</a></p>
</body>
</html>
`;
}

function folderRow(folder: FolderStatus): string {
  const reason = folder.stateReason === '' ? '' : `<br><small>${escapeHtml(folder.stateReason)}</small>`;
  return `<tr><td>${escapeHtml(folder.folder)}</td><td><span class="${folder.state}">${folder.state}</span>${reason}</td><td class="number">${escapeHtml(folder.headRevision)}</td><td class="number">${folder.entries}</td><td class="number" title="${folder.contentBytes}">${escapeHtml(formatBytes(folder.contentBytes))}</td><td>${holderCell(folder)}</td></tr>`;
}

function holderCell({ holder }: FolderStatus): string {
  if (holder === null) return '<small>nobody</small>';
  const state = holder.connected ? 'since' : 'not connected; since';
  return `${escapeHtml(holder.holder)}<br><small>${state} ${escapeHtml(holder.since)}</small>`;
}

export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`);
}
