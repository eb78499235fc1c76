import { readFileSync } from "node:fs";
import { defineConfig, type Plugin } from "vite";

const service = process.env.RIREKI_URL ?? "http://127.0.0.1:8000";

/** The files that are served at /api/docs, by their names there: Swagger UI, and the licences of all that is bundled in it. */
const SWAGGER_UI = {
  "swagger-ui-bundle.js": "swagger-ui-bundle.js",
  "swagger-ui-bundle.js.LICENSE.txt": "swagger-ui-bundle.js.LICENSE.txt",
  "swagger-ui.css": "swagger-ui.css",
  "favicon-32x32.png": "favicon-32x32.png",
  "LICENSE.txt": "LICENSE",
  "NOTICE.txt": "NOTICE",
};

/** The files are copied as they are: the service's own page loads them (service/http/openapi.py). */
const swaggerUi: Plugin = {
  name: "swagger-ui",
  apply: "build",
  generateBundle() {
    for (const [name, file] of Object.entries(SWAGGER_UI)) {
      const source = readFileSync(new URL(import.meta.resolve(`swagger-ui-dist/${file}`)));
      this.emitFile({ type: "asset", fileName: `api/docs/${name}`, source });
    }
  },
};

export default defineConfig({
  plugins: [swaggerUi],
  build: {
    outDir: "../static",
    emptyOutDir: true,
    // One sheet for all screens: screens are loaded late, and their rules must not come in another order.
    cssCodeSplit: false,
    // The content security policy allows files of our own, and nothing inline.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: ["chrome111", "edge111", "firefox114", "safari16.4"],
    reportCompressedSize: false,
    // The licences of all that the bundle holds, served beside it.
    license: { fileName: "licenses.txt" },
    rolldownOptions: {
      // "use client" in a library is for servers that draw pages; here it means nothing.
      onwarn: (warning, warn) => warning.code === "MODULE_LEVEL_DIRECTIVE" || warn(warning),
    },
  },
  server: { proxy: { "/api": service } },
  preview: { proxy: { "/api": service } },
});
