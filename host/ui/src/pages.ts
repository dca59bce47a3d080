// The pages by their paths. Each is loaded when it is opened first.
import type { ComponentType } from "preact";
import { match } from "./page_paths.ts";

export interface PageModule {
  default: ComponentType<{ parameters: Record<string, string> }>;
  /** What the rail shows below the navigation, such as the list of chats. */
  Aside?: ComponentType;
}

export interface PageRoute {
  /** With parameters such as `:id`. */
  path: string;
  /** Paths with the same key show the same page, which stays when one replaces the other. */
  key?: string;
  load: () => Promise<PageModule>;
  isForAdministrators?: boolean;
}

const admin = { isForAdministrators: true };

const ROUTES: readonly PageRoute[] = [
  { path: "/", key: "chat", load: () => import("./pages/chat/page.tsx") },
  { path: "/c/:id", key: "chat", load: () => import("./pages/chat/page.tsx") },
  { path: "/create", load: () => import("./pages/create/page.tsx") },
  { path: "/gallery", load: () => import("./pages/gallery/page.tsx") },
  { path: "/profile", load: () => import("./pages/profile/page.tsx") },
  { path: "/admin", load: () => import("./pages/admin/engines/page.tsx"), ...admin },
  { path: "/admin/engines/:name", load: () => import("./pages/admin/engines/engine.tsx"), ...admin },
  { path: "/admin/settings", load: () => import("./pages/admin/settings/page.tsx"), ...admin },
  { path: "/admin/settings/:engine", load: () => import("./pages/admin/settings/page.tsx"), ...admin },
  { path: "/admin/bindings", load: () => import("./pages/admin/bindings/page.tsx"), ...admin },
  { path: "/admin/people", load: () => import("./pages/admin/people/page.tsx"), ...admin },
  { path: "/admin/people/:id", load: () => import("./pages/admin/people/person.tsx"), ...admin },
  { path: "/admin/groups", load: () => import("./pages/admin/groups/page.tsx"), ...admin },
  { path: "/admin/jobs", load: () => import("./pages/admin/jobs/page.tsx"), ...admin },
  { path: "/admin/audit", load: () => import("./pages/admin/audit/page.tsx"), ...admin },
  { path: "/admin/configuration", load: () => import("./pages/admin/configuration/page.tsx"), ...admin },
];

/** The page of a path, with the values of its parameters. */
export function findPage(path: string): { route: PageRoute; parameters: Record<string, string> } | undefined {
  for (const route of ROUTES) {
    const parameters = match(route.path, path);
    if (parameters) return { route, parameters };
  }
  return undefined;
}
