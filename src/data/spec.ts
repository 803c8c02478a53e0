/** Of `cifar10:DIR` `cifar10` and `DIR`; without a colon the folder is empty. */
export function nameAndFolder(spec: string): [name: string, folder: string] {
  const colon = spec.indexOf(':');
  return colon < 0 ? [spec, ''] : [spec.slice(0, colon), spec.slice(colon + 1)];
}

/** A SPEC without its folder, which may move: `mnist`, `cifar10:DIR`. */
export function specKind(spec: string): string {
  return spec.includes(':') ? `${nameAndFolder(spec)[0]}:DIR` : spec;
}
