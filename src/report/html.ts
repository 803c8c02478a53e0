/** Text for an element or a quoted attribute. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

export interface Column {
  readonly title: string;
  /** Numbers stand right-aligned. Default true. */
  readonly numeric?: boolean;
}

/** @param rows cells as plain text; the first cell of a row is its header */
export function table(caption: string, columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const align = (i: number): string => (columns[i]!.numeric === false ? ' class="text"' : '');
  const head = columns.map((column, i) => `<th scope="col"${align(i)}>${escapeHtml(column.title)}</th>`).join('');
  const body = rows.map((row) => {
    const cells = row.map((cell, i) => {
      const text = escapeHtml(cell);
      return i === 0 ? `<th scope="row"${align(i)}>${text}</th>` : `<td${align(i)}>${text}</td>`;
    });
    return `<tr>${cells.join('')}</tr>`;
  });
  return (
    `<div class="scroll" tabindex="0" role="region" aria-label="${escapeHtml(caption)}"><table>` +
    `<caption>${escapeHtml(caption)}</caption><thead><tr>${head}</tr></thead><tbody>${body.join('')}</tbody></table></div>`
  );
}

export function details(summary: string, content: string): string {
  return `<details><summary>${escapeHtml(summary)}</summary>${content}</details>`;
}

export function section(title: string, introduction: string, content: string): string {
  return `<section><h2>${escapeHtml(title)}</h2><p>${escapeHtml(introduction)}</p>${content}</section>`;
}

export function page(title: string, body: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escapeHtml(title)}</title>
<style>${style}</style>
</head>
<body>
<main>
${body}
</main>
</body>
</html>
`;
}

const style = `
:root {
  --page: #f7f7f5; --card: #ffffff; --ink: #1b1d21; --soft: #5b616b; --line: #e3e4e1; --grid: #ececea;
  --spiking: #2a6fdb; --dense: #b45309; --third: #0f8a6c; --wash: #e8f0fc;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #131519; --card: #1b1e24; --ink: #eceef2; --soft: #a3abb8; --line: #2d323b; --grid: #272b33;
    --spiking: #6ea8ff; --dense: #f0a35e; --third: #4fcaa6; --wash: #1f2a3d;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1040px; margin: 0 auto; padding: 40px 20px 64px; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 4px; letter-spacing: -0.01em; }
h2 { font-size: 1.2rem; margin: 0 0 4px; }
p { margin: 0 0 16px; color: var(--soft); max-width: 75ch; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 24px; margin-top: 20px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(190px, 1fr)); gap: 12px; margin: 24px 0 0; padding: 0; }
.tiles div { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 16px 18px; }
.tiles dt { color: var(--soft); font-size: 0.86rem; }
.tiles dd { margin: 2px 0 0; font-size: 1.65rem; font-weight: 600; letter-spacing: -0.01em; }
.tiles small { display: block; font-size: 0.82rem; font-weight: 400; color: var(--soft); letter-spacing: 0; }
figure { margin: 0 0 12px; overflow-x: auto; }
svg { display: block; width: 100%; min-width: 800px; height: auto; }
svg text { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; fill: var(--soft); }
svg text.strong { fill: var(--ink); font-weight: 600; }
svg text.value { fill: var(--ink); paint-order: stroke; stroke: var(--card); stroke-width: 4px; stroke-linejoin: round; }
.grid { stroke: var(--grid); } .axis { stroke: var(--line); }
.legend { display: flex; flex-wrap: wrap; gap: 6px 20px; margin: 0 0 8px; font-size: 0.86rem; color: var(--soft); }
.legend i { display: inline-block; width: 14px; height: 10px; border-radius: 3px; margin-right: 7px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 0.9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); font-size: 0.86rem; padding-bottom: 6px; }
th, td { text-align: right; padding: 7px 10px; border-bottom: 1px solid var(--line); white-space: nowrap; }
thead th { color: var(--soft); font-weight: 500; vertical-align: bottom; white-space: normal; }
tbody th { font-weight: 600; }
th.text, td.text { text-align: left; } td.text { white-space: normal; overflow-wrap: anywhere; }
details { margin-top: 12px; } summary { cursor: pointer; color: var(--spiking); font-size: 0.9rem; }
details > .scroll, details > pre { margin-top: 10px; }
pre { overflow: auto; max-height: 420px; background: var(--page); border: 1px solid var(--line); border-radius: 8px;
  padding: 12px; font: 12.5px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
.classes { display: grid; grid-template-columns: repeat(auto-fill, minmax(300px, 1fr)); gap: 20px 24px; }
.classes h3 { font-size: 1rem; margin: 0; } .classes p { font-size: 0.86rem; margin: 0 0 8px; }
.pictures { display: flex; gap: 8px; } .pictures figure { margin: 0; width: 96px; overflow: hidden; }
.pictures img { display: block; width: 96px; border-radius: 6px; } figcaption { font-size: 0.78rem; line-height: 1.3; margin-top: 4px; color: var(--soft); }
.tag { display: inline-block; background: var(--wash); color: var(--ink); border-radius: 6px; padding: 1px 8px; font-size: 0.82rem; }
@media print { body { background: #fff; } section { break-inside: avoid; } }
`;
