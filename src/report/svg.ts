import { escapeHtml } from './html.js';

export const width = 960;

/** Colours come from the page's variables, so that charts follow light and dark. */
export const colours = { spiking: 'var(--spiking)', dense: 'var(--dense)', third: 'var(--third)' } as const;

export interface Figure {
  /** Unique in the page. */
  readonly id: string;
  readonly title: string;
  /** What a reader who does not see the chart should know. */
  readonly description: string;
  readonly height: number;
  readonly legend?: readonly { readonly colour: string; readonly label: string }[];
  readonly content: string;
}

export function figure({ id, title, description, height, legend = [], content }: Figure): string {
  const entries = legend.map(
    ({ colour, label }) => `<span><i style="background:${colour}"></i>${escapeHtml(label)}</span>`,
  );
  const key = entries.length > 0 ? `<div class="legend">${entries.join('')}</div>` : '';
  return (
    `<figure>${key}<svg viewBox="0 0 ${width} ${height}" role="img" aria-labelledby="${id}-title ${id}-desc">` +
    `<title id="${id}-title">${escapeHtml(title)}</title><desc id="${id}-desc">${escapeHtml(description)}</desc>` +
    `${content}</svg></figure>`
  );
}

export interface TextOptions {
  readonly anchor?: 'start' | 'middle' | 'end';
  readonly style?: 'strong' | 'value';
}

export function text(x: number, y: number, content: string, { anchor = 'start', style }: TextOptions = {}): string {
  const look = style === undefined ? '' : ` class="${style}"`;
  return `<text x="${round(x)}" y="${round(y)}" text-anchor="${anchor}"${look}>${escapeHtml(content)}</text>`;
}

export function line(x1: number, y1: number, x2: number, y2: number, look: string): string {
  return `<line x1="${round(x1)}" y1="${round(y1)}" x2="${round(x2)}" y2="${round(y2)}" ${look}/>`;
}

/** A bar whose hover text is `label`. */
export function bar(x: number, y: number, barWidth: number, height: number, colour: string, label: string): string {
  return (
    `<rect x="${round(x)}" y="${round(y)}" width="${round(Math.max(0, barWidth))}" height="${round(Math.max(0, height))}" rx="2" ` +
    `fill="${colour}"><title>${escapeHtml(label)}</title></rect>`
  );
}

/** A dot whose hover text is `label`. */
export function dot(x: number, y: number, colour: string, label: string): string {
  return (
    `<circle cx="${round(x)}" cy="${round(y)}" r="5" fill="${colour}" stroke="var(--card)" stroke-width="2">` +
    `<title>${escapeHtml(label)}</title></circle>`
  );
}

export function round(value: number): number {
  return Math.round(value * 100) / 100;
}
