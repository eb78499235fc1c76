import { QueryClientProvider } from "@tanstack/react-query";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./app";
import { queries } from "./live";
import { WithPreferences } from "./preferences";
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/frame.css";
import "./styles/parts.css";
import "./styles/chatwork.css";
import "./styles/jobs.css";
import "./styles/job.css";
import "./styles/companies.css";
import "./styles/audit.css";

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
