import { QueryClientProvider } from "@tanstack/react-query";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./app";
import { queries } from "./live/live";
import { WithPreferences } from "./preferences";
import "./styles/index.css";

const page = document.getElementById("page");
if (page) {
  createRoot(page).render(
    <StrictMode>
      <QueryClientProvider client={queries}>
        <WithPreferences>
          <App />
        </WithPreferences>
      </QueryClientProvider>
    </StrictMode>,
  );
}
