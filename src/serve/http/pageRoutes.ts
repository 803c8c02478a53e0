import { readFileSync } from 'node:fs';
import type { ServerContext } from './context.js';

const types = { 'index.html': 'text/html', 'page.css': 'text/css', 'page.js': 'text/javascript', 'raster.js': 'text/javascript', 'live.js': 'text/javascript' } as const;
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** The page, the metrics and the OpenAPI document. The page's files are read once: no path of a request is opened. */
export function addPageRoutes({ app, metrics }: ServerContext): void {
  for (const [name, type] of Object.entries(types)) {
    const content = readFileSync(new URL(`../page/${name}`, import.meta.url));
    app.get(name === 'index.html' ? '/' : `/page/${name}`, { schema: { hide: true } }, (_, reply) =>
      reply.type(`${type}; charset=utf-8`).header('content-security-policy', policy).header('cache-control', 'no-cache').send(content),
    );
  }
  app.get('/metrics', { schema: { tags: ['metrics'], summary: 'For Prometheus' } }, async (_, reply) =>
    reply.type(metrics.registry.contentType).send(await metrics.registry.metrics()),
  );
  app.get('/openapi.json', { schema: { hide: true } }, () => app.swagger());
}
