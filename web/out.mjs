import { fileURLToPath } from 'node:url';

/** Where the control plane looks for the dashboard, and whence the wheel takes it. */
const SITE = new URL('../gptload/control/site', import.meta.url);
export const OUT = process.env.GPTLOAD_SITE ?? fileURLToPath(SITE);
