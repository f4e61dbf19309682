/**
 * The status page: a document that holds no data, its style sheet, and the address of its script (page/status-page.js),
 * which gets everything over /api/events and writes it with textContent only. Without scripts there is a table, made
 * here, in which every text that somebody else chose is escaped (S28). Pure.
 */
import { formatBytes, formatDuration } from '../../../common/ops/units.ts';
import type { FolderStatus, ServerStatus } from './server-status.ts';
import { STATUS_STYLE } from './status-style.ts';

/** Nothing is loaded from elsewhere, nothing inline runs, nothing may frame the page, and no text can become markup. */
export const STATUS_PAGE_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  "img-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join('; ');

export { STATUS_STYLE };

/** Two halves that meet: in step. */
export const STATUS_ICON = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#2456d6"/><path d="M9 8v16M23 8v16M9 12h14M9 20h14" stroke="#fff" stroke-width="3" stroke-linecap="round"/></svg>`;

const CHARTS = [
  ['throughput', 'Received', 'Bytes a second'],
  ['changes', 'Changes', 'Applied a second'],
  ['latency', 'Latency', 'Batch to answer, 99th percentile'],
] as const;

const COLUMNS = ['Folder', 'State', 'Revision', 'Entries', 'Size', 'Watcher', 'Lag'] as const;

export function statusPage(status: ServerStatus): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>sync-server</title>
<link rel="icon" href="/status.svg" type="image/svg+xml">
<link rel="stylesheet" href="/status.css">
<script src="/status.js" type="module"></script>
<noscript><meta http-equiv="refresh" content="5"></noscript>
</head>
<body>
<a class="skip" href="#folders">Skip to the folders</a>
<header>
<h1>sync-server</h1>
<p><span id="state" class="badge ${status.state}">${status.state}</span> <span id="uptime">for ${escapeHtml(formatDuration(status.uptimeSeconds * 1000))}</span> <span class="quiet">version <span id="version">${escapeHtml(status.version)}</span></span></p>
<p id="connection" class="quiet" role="status" aria-live="polite"></p>
</header>
<main>
<section aria-labelledby="folders-title" id="folders" tabindex="-1">
<h2 id="folders-title">Folders</h2>
<div class="card">
<table role="table" aria-labelledby="folders-title">
<thead role="rowgroup"><tr role="row">${COLUMNS.map(headerCell).join('')}</tr></thead>
<tbody role="rowgroup" id="folder-rows">
${status.folders.map(folderRow).join('\n')}
</tbody>
</table>
<p id="no-folders" class="quiet" hidden>No folder that you may see.</p>
</div>
</section>
<section aria-labelledby="problems-title" class="live" hidden>
<h2 id="problems-title">Problems</h2>
<div class="card">
<p id="problems-summary" role="status" aria-live="polite">None.</p>
<ul id="problems"></ul>
</div>
</section>
<section aria-labelledby="activity-title" class="live" hidden>
<h2 id="activity-title">Activity <span class="quiet">of the last two minutes</span></h2>
<div class="charts">
${CHARTS.map(chart).join('\n')}
</div>
</section>
<section aria-labelledby="changes-title" class="live" hidden>
<div class="title-row"><h2 id="changes-title">Changes</h2><button type="button" id="pause" aria-pressed="false">Pause</button></div>
<div class="card feed">
<p id="no-changes" class="quiet">Nothing yet since you came.</p>
<ol id="changes" role="log" aria-live="off" aria-labelledby="changes-title" tabindex="0" hidden></ol>
</div>
</section>
<section aria-labelledby="checks-title" class="live" hidden>
<h2 id="checks-title">Checks</h2>
<div class="card"><ul id="checks"></ul></div>
</section>
<noscript><p>This page moves by itself when scripts are allowed; now it is loaded again every five seconds.</p></noscript>
</main>
<footer><p><a href="/api/status">JSON</a> · <a href="/metrics">metrics</a> · <a href="/readyz">readiness</a></p></footer>
</body>
</html>
`;
}

function headerCell(title: (typeof COLUMNS)[number]): string {
  return `<th role="columnheader" scope="col"${isNumber(title) ? ' class="number"' : ''}>${title}</th>`;
}

function isNumber(title: (typeof COLUMNS)[number]): boolean {
  return title === 'Revision' || title === 'Entries' || title === 'Size' || title === 'Lag';
}

function chart([id, title, description]: (typeof CHARTS)[number]): string {
  return `<figure class="card chart" id="chart-${id}">
<figcaption><span class="chart-title">${title}</span> <output class="chart-value">–</output><span class="chart-note quiet">${description}</span><span class="chart-note chart-top quiet" aria-hidden="true"></span></figcaption>
<svg viewBox="0 0 120 40" preserveAspectRatio="none" aria-hidden="true" focusable="false"><path class="area" d=""/><path class="line" d=""/></svg>
</figure>`;
}

/** Replaced by the script as soon as it runs; it makes the same cells. */
function folderRow(folder: FolderStatus): string {
  const reason = folder.stateReason === '' ? '' : `<small>${escapeHtml(folder.stateReason)}</small>`;
  const cells = [
    `<span class="badge ${folder.state}">${folder.state}</span>${reason}`,
    escapeHtml(folder.headRevision),
    String(folder.entries),
    escapeHtml(formatBytes(folder.contentBytes)),
    holderCell(folder),
    folder.lagMs === 0 ? 'none' : escapeHtml(formatDuration(folder.lagMs)),
  ];
  const data = cells.map((cell, at) => {
    const title = COLUMNS[at + 1] ?? 'Lag';
    return `<td role="cell" data-title="${title}"${isNumber(title) ? ' class="number"' : ''}>${cell}</td>`;
  });
  return `<tr role="row"><th role="rowheader" scope="row">${escapeHtml(folder.folder)}</th>${data.join('')}</tr>`;
}

function holderCell({ holder }: FolderStatus): string {
  if (holder === null) return '<span class="quiet">none</span>';
  const state = holder.connected ? 'connected since' : 'gone; since';
  return `${escapeHtml(holder.holder)}<small>${state} ${escapeHtml(holder.since)}</small>`;
}

export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`);
}
