export function percent(fraction: number, digits = 2): string {
  return `${(fraction * 100).toFixed(digits)} %`;
}

/** Three significant digits and a unit: 12.3 k, 4.56 M. */
export function compact(value: number): string {
  const steps: readonly (readonly [number, string])[] = [[1e9, ' G'], [1e6, ' M'], [1e3, ' k']];
  for (const [size, unit] of steps) if (Math.abs(value) >= size) return `${significant(value / size)}${unit}`;
  return significant(value);
}

/** Three significant digits without an exponent. */
export function significant(value: number): string {
  if (value === 0 || !Number.isFinite(value)) return String(value);
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toFixed(Math.min(digits, 8));
}

export function bytes(value: number): string {
  if (value < 1024) return `${value} B`;
  return value < 2 ** 20 ? `${significant(value / 1024)} KiB` : `${significant(value / 2 ** 20)} MiB`;
}

/** @param nanojoules shown in nJ, or in µJ from 1,000 on */
export function energy(nanojoules: number): string {
  return nanojoules < 1000 ? `${significant(nanojoules)} nJ` : `${significant(nanojoules / 1000)} µJ`;
}

/** 3.2 s, 2 min 5 s, 3 h 20 min. */
export function duration(seconds: number): string {
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole >= 3600) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 60)} min ${whole % 60} s`;
}
