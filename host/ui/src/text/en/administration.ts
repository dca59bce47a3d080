import { admin } from "./admin.ts";
import { engines } from "./engines.ts";
import { people } from "./people.ts";
import { settings } from "./settings.ts";

/** The texts that only the pages of administration and of the own account show. They are loaded with these pages. */
export const administration = { admin, engines, people, settings };
