import { useState } from "preact/hooks";
import { put } from "../../../api/client.ts";
import type { BindingList } from "../../../api/types.ts";
import { Trouble } from "../../../components/notice.tsx";
import { useAction } from "../../../components/resource.ts";
import { Section } from "../../../components/section.tsx";
import { IconArrowDown, IconArrowUp, IconClose, IconGrip } from "../../../icons.ts";
import { t } from "../../../text/index.ts";
import { moved } from "./binding.ts";

/** The order of fallbacks: changed by drag, or by the buttons of each. */
export function FallbackList({ list, onChange }: { list: BindingList; onChange: () => void }) {
  const [names, setNames] = useState(list.fallbacks);
  const [dragged, setDragged] = useState<number | undefined>();
  const [announcement, setAnnouncement] = useState("");
  const save = useAction(async (next: string[]) => {
    const before = names;
    setNames(next);
    try {
      await put("/api/v1/fallbacks", { body: { fallbacks: next } });
      onChange();
    } catch (error) {
      setNames(before);
      throw error;
    }
  });
  const move = (from: number, to: number) => {
    const name = names[from];
    if (name === undefined || to < 0 || to >= names.length) return;
    setAnnouncement(t.settings.moved(name, to + 1));
    void save.run(moved(names, from, to));
  };
  const others = list.bindings.map((it) => it.name).filter((it) => !names.includes(it));
  return (
    <Section title={t.settings.fallbacks} hint={t.settings.fallbacksLead}>
      {names.length === 0 && <p>{t.settings.noFallbacks}</p>}
      <ol class="lines drag-list">
        {names.map((name, index) => (
          <li
            key={name}
            class={dragged === index ? "row dragged" : "row"}
            draggable
            onDragStart={() => setDragged(index)}
            onDragEnd={() => setDragged(undefined)}
            onDragOver={(event) => event.preventDefault()}
            onDrop={(event) => {
              event.preventDefault();
              if (dragged !== undefined && dragged !== index) move(dragged, index);
              setDragged(undefined);
            }}
          >
            <IconGrip aria-hidden="true" class="grip" />
            <span class="grow truncate">
              {index + 1}. {name}
            </span>
            <button type="button" class="quiet small icon" disabled={index === 0} aria-label={t.settings.moveUp(name)} onClick={() => move(index, index - 1)}>
              <IconArrowUp />
            </button>
            <button type="button" class="quiet small icon" disabled={index === names.length - 1} aria-label={t.settings.moveDown(name)} onClick={() => move(index, index + 1)}>
              <IconArrowDown />
            </button>
            <button type="button" class="quiet small icon" aria-label={t.settings.removeNamed(name)} onClick={() => void save.run(names.filter((it) => it !== name))}>
              <IconClose />
            </button>
          </li>
        ))}
      </ol>
      <span class="visually-hidden" role="status">
        {announcement}
      </span>
      {others.length > 0 && (
        <label class="chip add-chip">
          <span class="visually-hidden">{t.settings.addFallback}</span>
          <select value="" onChange={(event) => void save.run([...names, event.currentTarget.value])}>
            <option value="">{t.settings.addFallback}</option>
            {others.map((it) => (
              <option key={it} value={it}>
                {it}
              </option>
            ))}
          </select>
        </label>
      )}
      <Trouble error={save.error} />
    </Section>
  );
}
