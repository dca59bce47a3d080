import { useEffect, useState } from "preact/hooks";
import { Field } from "../../../components/field.tsx";
import { IconClose, IconFilter, IconReload } from "../../../icons.ts";
import { setQuery } from "../../../router.ts";
import { t } from "../../../text/index.ts";
import { engineList, followEngines } from "../engine_list.ts";
import { hasFilter, type Filters } from "./filters.ts";
import { AUDIT_KINDS } from "./types.ts";

interface FilterBarProps {
  filters: Filters;
  onReload: () => void;
}

/** Filters by kind, engine, user and time. They apply when a field is left. */
export function FilterBar({ filters, onReload }: FilterBarProps) {
  useEffect(followEngines, []);
  const [isOpen, setIsOpen] = useState(hasFilter(filters));
  const { audit } = t.admin;
  const engines = engineList.value?.releases?.engines.map((it) => it.name) ?? [];
  const input = (name: keyof Filters, type: "text" | "datetime-local") => (
    <input type={type} value={filters[name]} list={name === "engine" ? "audit-engines" : undefined} onChange={(event) => setQuery({ [name]: event.currentTarget.value })} />
  );
  return (
    <div class={isOpen ? "audit-filters open" : "audit-filters"} role="search" aria-label={audit.filters}>
      <Field label={audit.kind}>
        <select value={filters.kind} onChange={(event) => setQuery({ kind: event.currentTarget.value })}>
          <option value="">{audit.allKinds}</option>
          {AUDIT_KINDS.map((it) => (
            <option key={it} value={it}>
              {audit.kinds[it]}
            </option>
          ))}
        </select>
      </Field>
      <Field label={audit.engine}>{input("engine", "text")}</Field>
      <datalist id="audit-engines">
        {engines.map((it) => (
          <option key={it} value={it} />
        ))}
      </datalist>
      <Field label={audit.user}>
        <input type="text" placeholder={audit.userHint} value={filters.user} onChange={(event) => setQuery({ user: event.currentTarget.value })} />
      </Field>
      <Field label={audit.since}>{input("from", "datetime-local")}</Field>
      <Field label={audit.until}>{input("until", "datetime-local")}</Field>
      <div class="filter-actions">
        <button type="button" class="phone-only" aria-expanded={isOpen} onClick={() => setIsOpen(!isOpen)}>
          <IconFilter aria-hidden="true" />
          {audit.filters}
        </button>
        {hasFilter(filters) && (
          <button type="button" class="quiet" onClick={() => setQuery({ kind: undefined, engine: undefined, user: undefined, from: undefined, until: undefined })}>
            <IconClose aria-hidden="true" />
            {audit.clear}
          </button>
        )}
        <button type="button" class="quiet icon" aria-label={t.admin.refresh} title={t.admin.refresh} onClick={onReload}>
          <IconReload aria-hidden="true" />
        </button>
      </div>
    </div>
  );
}
