// The choices for the image that are always visible. The others are in a dialog.
import { useEffect } from "preact/hooks";
import { IconGallery, IconSliders } from "../../icons.ts";
import { parseSize, ratioLabel, showSize, sizeChoices } from "../../sizes.ts";
import { t } from "../../text/index.ts";
import { titleOf } from "../../usable_engine.ts";
import { abilities, engine, imageModel, options, setImageOn, setOptions, wantsImage } from "./choices.ts";
import { sources } from "./draft.ts";
import { branch } from "./conversation.ts";
import { chatModels, engines, loadImageModels } from "./engines.ts";
import { COUNTS, countDetails } from "./image_options.ts";
import { imagesOf } from "./message.ts";
import { isOptionsOpen } from "./dialogs.ts";

export function ComposerOptions() {
  const isOn = wantsImage.value;
  const name = engine.value?.name;
  useEffect(() => {
    if (name !== undefined && isOn && engine.value?.is_ready) void loadImageModels(name);
  }, [name, isOn]);
  if (!engines.value || engines.value.length === 0) return null;
  const set = countDetails(options.value);
  return (
    <>
      {chatModels.value?.length !== 0 && (
        <button type="button" class="chip image-switch" aria-pressed={isOn} onClick={() => setImageOn(!isOn)}>
          <IconGallery aria-hidden="true" />
          <span>{t.chat.image}</span>
        </button>
      )}
      {isOn && (
        <>
          <EngineChip />
          <SizeChip />
          <CountChip />
          <EditChip />
          <button type="button" class="chip options-button" aria-label={set > 0 ? t.chat.optionsSet(set) : t.chat.options} aria-haspopup="dialog" onClick={() => (isOptionsOpen.value = true)}>
            <IconSliders aria-hidden="true" />
            {set > 0 && <span aria-hidden="true">{set}</span>}
          </button>
        </>
      )}
    </>
  );
}

function EngineChip() {
  const list = engines.value ?? [];
  if (list.length < 2) return null;
  const automatic = engine.value && options.value.engine === undefined ? titleOf(engine.value) : undefined;
  return (
    <label class={options.value.engine === undefined ? "chip select-chip roomy-only" : "chip select-chip on roomy-only"}>
      <span class="visually-hidden">{t.chat.engine}</span>
      <select value={options.value.engine ?? ""} onChange={(event) => setOptions({ engine: event.currentTarget.value, model: undefined })}>
        <option value="">{automatic === undefined ? t.chat.auto : t.chat.autoIs(automatic)}</option>
        {list.map((it) => (
          <option key={it.name} value={it.name} disabled={!it.is_ready}>
            {titleOf(it)}
          </option>
        ))}
      </select>
    </label>
  );
}

function SizeChip() {
  const sizes = sizeChoices(engine.value, imageModel.value).map((it) => it.size);
  const chosen = options.value.size;
  const all = chosen !== undefined && !sizes.includes(chosen) ? [chosen, ...sizes] : sizes;
  return (
    <label class={chosen === undefined ? "chip select-chip" : "chip select-chip on"}>
      <span class="visually-hidden">{t.chat.size}</span>
      <select value={chosen ?? ""} onChange={(event) => setOptions({ size: event.currentTarget.value })}>
        <option value="">{t.chat.autoSize}</option>
        {all.map((it) => (
          <option key={it} value={it}>
            {sizeLabel(it)}
          </option>
        ))}
      </select>
    </label>
  );
}

function sizeLabel(text: string): string {
  const size = parseSize(text);
  const ratio = size && ratioLabel(size);
  return ratio === undefined ? showSize(text) : `${ratio} · ${showSize(text)}`;
}

function CountChip() {
  const max = abilities.value?.max_count ?? 1;
  if (max < 2) return null;
  const count = Math.min(options.value.n ?? 1, max);
  const counts = [...new Set([...COUNTS.filter((it) => it <= max), count])].sort((a, b) => a - b);
  return (
    <label class={count === 1 ? "chip select-chip roomy-only" : "chip select-chip on"}>
      <span class="visually-hidden">{t.chat.count}</span>
      <select value={String(count)} onChange={(event) => setOptions({ n: Number(event.currentTarget.value) === 1 ? undefined : Number(event.currentTarget.value) })}>
        {counts.map((it) => (
          <option key={it} value={String(it)}>
            {t.chat.images(it)}
          </option>
        ))}
      </select>
    </label>
  );
}

/** Whether the next message may edit the images of the conversation. */
function EditChip() {
  const hasImages = branch.value.some((it) => imagesOf(it).length > 0);
  const canEdit = engines.value?.some((it) => it.abilities.edit && it.is_ready) === true;
  if (!hasImages || !canEdit || sources.value.length > 0) return null;
  const isNew = options.value.edit === false;
  return (
    <button type="button" class="chip" aria-pressed={isNew} title={t.chat.newImageHint} onClick={() => setOptions({ edit: isNew ? undefined : false })}>
      {t.chat.newImage}
    </button>
  );
}
