/**
 * A writer of SVG: elements in, well-formed text out. Pure.
 */

export interface SvgElement {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string | number>>;
  readonly children: readonly (SvgElement | string)[];
}

export function element(
  name: string,
  attributes: Readonly<Record<string, string | number>>,
  ...children: readonly (SvgElement | string)[]
): SvgElement {
  return { name, attributes, children };
}

/** Coordinates need no more than hundredths of a pixel. */
function attributeText(value: string | number): string {
  return escapeXml(typeof value === 'number' ? String(Math.round(value * 100) / 100) : value);
}

/** Also takes out the control characters that XML cannot hold. */
export function escapeXml(text: string): string {
  const legal = text.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, '').toWellFormed();
  return legal.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;').replace(/"/g, '&quot;');
}

export function renderElement(root: SvgElement, indent = ''): string {
  const attributes = Object.entries(root.attributes).map(([name, value]) => ` ${name}="${attributeText(value)}"`);
  const start = `${indent}<${root.name}${attributes.join('')}`;
  if (root.children.length === 0) return `${start}/>`;
  if (root.children.every((child) => typeof child === 'string')) {
    return `${start}>${root.children.map(escapeXml).join('')}</${root.name}>`;
  }
  const children = root.children.map((child) =>
    typeof child === 'string' ? escapeXml(child) : renderElement(child, `${indent}  `),
  );
  return `${start}>\n${children.join('\n')}\n${indent}</${root.name}>`;
}

/** The colours follow the reader's, light or dark. */
const STYLE = `
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-size: 16px; font-weight: 600 }
.faint { fill: #57606a }
.grid { stroke: #d0d7de; stroke-width: 1 }
.axis { stroke: #57606a; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .faint { fill: #9198a1 }
  .grid { stroke: #3d444d }
  .axis { stroke: #9198a1 }
}
`;

export function renderDocument(
  size: { readonly width: number; readonly height: number },
  title: string,
  children: readonly SvgElement[],
): string {
  const { width, height } = size;
  const root = element(
    'svg',
    { xmlns: 'http://www.w3.org/2000/svg', viewBox: `0 0 ${width} ${height}`, width, height, role: 'img' },
    element('title', {}, title),
    element('style', {}, STYLE),
    ...children,
  );
  return `${renderElement(root)}\n`;
}
