// Fails the build when the dashboard grows beyond what it may: docs/decisions/0022.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

import { OUT } from './out.mjs';

const KB = 1000;
const MOST = { js: 200 * KB, css: 25 * KB, route: 60 * KB };

const size = (name) => gzipSync(readFileSync(join(OUT, name)), { level: 9 }).length;
const text = (name) => readFileSync(join(OUT, name), 'utf8');
const all = readdirSync(join(OUT, 'assets')).map((name) => `assets/${name}`);

/** A chunk with everything that it needs before it runs. */
function withImports(name, found = new Set()) {
  if (found.has(name)) return found;
  found.add(name);
  for (const [, other] of text(name).matchAll(/from\s*["'`]\.\/([\w.-]+\.js)["'`]/g)) {
    withImports(`assets/${other}`, found);
  }
  return found;
}

// What the first page of a signed-in visit takes: the shell, one language, the overview.
const shell = [...text('index.html').matchAll(/assets\/[\w.-]+\.(?:js|css)/g)].map(
  ([name]) => name,
);
const first = new Set(shell.filter((name) => name.endsWith('.js')));
for (const name of all) {
  if (/assets\/(OverviewPage|en)-[\w-]{8}\.js$/.test(name)) withImports(name, first);
}
const sum = (names) => [...names].reduce((total, name) => total + size(name), 0);
const figures = {
  js: sum(first),
  css: sum([
    ...shell.filter((name) => name.endsWith('.css')),
    ...all.filter((name) => /assets\/(OverviewPage|TimeSeries|uplot)-[\w-]{8}\.css$/.test(name)),
  ]),
};
const faults = Object.entries(figures)
  .filter(([kind, bytes]) => bytes > MOST[kind])
  .map(([kind, bytes]) => `${kind} ${bytes} > ${MOST[kind]}`);
for (const name of all.filter((one) => /Page-[\w-]{8}\.js$/.test(one))) {
  const own = sum([...withImports(name)].filter((one) => !first.has(one)));
  if (own > MOST.route) faults.push(`${name} ${own} > ${MOST.route}`);
}
console.log(`Initial JavaScript ${figures.js} bytes, CSS ${figures.css} bytes, gzip.`);
if (faults.length) {
  console.error(`Too large: ${faults.join('; ')}`);
  process.exit(1);
}
