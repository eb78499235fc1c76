import { defineConfig } from "vite";

const service = process.env.RIREKI_URL ?? "http://127.0.0.1:8000";

export default defineConfig({
  build: {
    outDir: "../static",
    emptyOutDir: true,
    // The content security policy allows files of our own, and nothing inline.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: ["chrome111", "edge111", "firefox114", "safari16.4"],
    reportCompressedSize: false,
    rolldownOptions: {
      // "use client" in a library is for servers that draw pages; here it means nothing.
      onwarn: (warning, warn) => warning.code === "MODULE_LEVEL_DIRECTIVE" || warn(warning),
    },
  },
  server: { proxy: { "/api": service } },
  preview: { proxy: { "/api": service } },
});
