import { admin } from "./admin.ts";
import { engines } from "./engines.ts";

/** The texts that only the pages of administration show. They are loaded with these pages. */
export const administration = { admin, engines };
