// The signed-in user, and what the server says about itself.
import { batch, computed, signal } from "@preact/signals";
import { ApiError, get, post, sessionExpired } from "./api/client.ts";
import { disconnect } from "./api/events.ts";
import type { ServerConfig, Session } from "./api/types.ts";

/** `undefined` until the server has said who it is; `null` without a session. */
export const user = signal<Session | null | undefined>(undefined);
export const config = signal<ServerConfig | undefined>(undefined);

const isAdministrator = computed(() => user.value?.role === "admin");
export const hasAdminPages = computed(() => isAdministrator.value && config.value?.pinhole.admin_pages !== false);

/** Reads both at the start. An error is the server's; a missing session is not an error. */
export async function loadSession(): Promise<void> {
  const server = await get("/api/config");
  const found = server.pinhole.signed_in ? await whoAmI() : null;
  batch(() => {
    config.value = server;
    user.value = found;
  });
}

async function whoAmI(): Promise<Session | null> {
  try {
    return await get("/api/v1/auths/");
  } catch (error) {
    if (error instanceof ApiError && (error.status === 401 || error.status === 403)) return null;
    throw error;
  }
}

type Credentials = { email: string; password: string } | { key: string };

export async function signIn(credentials: Credentials): Promise<void> {
  await post("/api/v1/auths/signin", { body: credentials });
  user.value = await whoAmI();
  sessionExpired.value = false;
}

export async function signOut(): Promise<void> {
  await get("/api/v1/auths/signout");
  disconnect();
  // Nothing of the user's stays in memory.
  window.location.assign("/");
}
