// Dates, numbers and amounts in the language of the page.
import type { Cost } from "./api/types.ts";
import { language } from "./preferences.ts";

const dateTime = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" });
const day = new Intl.DateTimeFormat(language, { dateStyle: "medium" });
const relative = new Intl.RelativeTimeFormat(language, { numeric: "auto", style: "short" });
const whole = new Intl.NumberFormat(language, { maximumFractionDigits: 0 });
const percentage = new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: 1 });

/** From seconds since 1970. */
export function formatTime(seconds: number): string {
  return dateTime.format(seconds * 1000);
}

export function formatDay(seconds: number): string {
  return day.format(seconds * 1000);
}

/** Such as "5 min. ago"; a date after a week. */
export function formatAgo(seconds: number, now = Date.now() / 1000): string {
  const age = seconds - now;
  const distance = Math.abs(age);
  if (distance < 60) return relative.format(Math.round(age), "second");
  if (distance < 3_600) return relative.format(Math.round(age / 60), "minute");
  if (distance < 86_400) return relative.format(Math.round(age / 3_600), "hour");
  if (distance < 7 * 86_400) return relative.format(Math.round(age / 86_400), "day");
  return formatDay(seconds);
}

export function formatNumber(value: number, digits = 0): string {
  if (digits === 0) return whole.format(value);
  return new Intl.NumberFormat(language, { maximumFractionDigits: digits }).format(value);
}

/** From a fraction, such as 0.012. */
export function formatPercent(fraction: number): string {
  return percentage.format(fraction);
}

/** From milliseconds: "420 ms", "8.4 s", "2:05 min". */
export function formatDuration(milliseconds: number): string {
  if (milliseconds < 1_000) return unit(milliseconds, "millisecond", 0);
  if (milliseconds < 60_000) return unit(milliseconds / 1_000, "second", 1);
  const seconds = Math.round(milliseconds / 1_000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")} min`;
}

const BYTE_UNITS = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];

export function formatBytes(bytes: number): string {
  const power = Math.min(BYTE_UNITS.length - 1, bytes < 1_000 ? 0 : Math.floor(Math.log10(bytes) / 3));
  return unit(bytes / 1_000 ** power, BYTE_UNITS[power] ?? "byte", power === 0 ? 0 : 1);
}

/** An amount of a currency, or of the upstream's own unit, such as credits, which follows the number. */
export function formatCost({ amount, unit: currency }: Cost): string {
  if (!/^[A-Z]{3}$/.test(currency)) return `${formatNumber(amount, 4)} ${currency}`;
  return new Intl.NumberFormat(language, { style: "currency", currency, maximumFractionDigits: 4 }).format(amount);
}

/** Such as "8.4 s": the short sign of the unit, after a space in each language. */
function unit(value: number, name: string, digits: number): string {
  const options = { style: "unit", unit: name, unitDisplay: "narrow", maximumFractionDigits: digits } as const;
  const parts = new Intl.NumberFormat(language, options).formatToParts(value);
  const isAttached = (index: number) => parts[index]?.type === "unit" && parts[index - 1]?.type !== "literal";
  return parts.map((it, index) => (isAttached(index) ? `\u00a0${it.value}` : it.value)).join("");
}
