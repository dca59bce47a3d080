import { useState } from "preact/hooks";
import type { Job, JobFile, UsableEngine } from "../../api/types.ts";
import { Menu } from "../../components/menu.tsx";
import { IconDownload, IconEdit, IconMask, IconMore, IconReuse, IconSearch, IconStar, IconStarFilled, IconTrash, IconVary } from "../../icons.ts";
import { read, write } from "../../preferences.ts";
import { t } from "../../text/index.ts";
import { recipeOf, type Actions } from "./actions.ts";
import type { ReuseChoice } from "./form_state.ts";
import type { ImageStates } from "./use_images.ts";

export interface ImageToolsProps {
  job: Job;
  file: JobFile;
  engines: readonly UsableEngine[];
  images: ImageStates;
  actions: Actions;
}

/** The buttons on an image. On a small image some of them are in the menu only. */
export function ImageTools({ job, file, engines, images, actions }: ImageToolsProps) {
  const isStarred = images.isStarred(file.id);
  const canEdit = engines.some((it) => it.is_ready && it.abilities.edit);
  const canMask = engines.some((it) => it.is_ready && it.abilities.mask);
  const Star = isStarred ? IconStarFilled : IconStar;
  return (
    <div class="image-tools">
      {canEdit && (
        <button type="button" class="labeled" title={t.create.edit} onClick={() => actions.edit(file)}>
          <IconEdit aria-hidden="true" />
          <span>{t.create.edit}</span>
        </button>
      )}
      {canMask && (
        <button type="button" class="labeled medium" title={t.create.maskButton} onClick={() => actions.mask(file)}>
          <IconMask aria-hidden="true" />
          <span>{t.create.maskButton}</span>
        </button>
      )}
      <button type="button" class="labeled small-too" title={t.create.varyHint} onClick={() => void actions.vary(job)}>
        <IconVary aria-hidden="true" />
        <span>{t.create.vary}</span>
      </button>
      <span class="medium">
        <ReuseMenu job={job} file={file} actions={actions} />
      </span>
      <button type="button" aria-pressed={isStarred} aria-label={t.create.star} title={isStarred ? t.create.unstar : t.create.star} onClick={() => void images.star(file.id, !isStarred)}>
        <Star aria-hidden="true" />
      </button>
      <a class="small-too" href={file.url} download={file.name} aria-label={t.create.download} title={t.create.download}>
        <IconDownload aria-hidden="true" />
      </a>
      <MoreMenu job={job} file={file} canMask={canMask} images={images} actions={actions} />
    </div>
  );
}

const CHOICES: readonly ReuseChoice[] = ["prompt", "seed", "all"];

/** The choices, the last one first. */
function useReuseChoices(): [ReuseChoice[], (choice: ReuseChoice) => void] {
  const [last, setLast] = useState(() => read("create.reuse"));
  const remember = (choice: ReuseChoice) => {
    setLast(choice);
    write("create.reuse", choice);
  };
  return [[...CHOICES].sort((a, b) => Number(b === last) - Number(a === last)), remember];
}

function ReuseMenu({ job, file, actions }: { job: Job; file: JobFile; actions: Actions }) {
  const face = (
    <>
      <IconReuse aria-hidden="true" />
      <span>{t.create.reuse}</span>
    </>
  );
  return (
    <Menu label={t.create.reuse} face={face} class="labeled">
      <ReuseItems job={job} file={file} actions={actions} />
    </Menu>
  );
}

function ReuseItems({ job, file, actions }: { job: Job; file: JobFile; actions: Actions }) {
  const [choices, remember] = useReuseChoices();
  const recipe = recipeOf(job, file);
  return (
    <>
      <span class="label">{t.create.reuseWhat}</span>
      {choices.map((choice) => (
        <button
          key={choice}
          type="button"
          disabled={choice === "seed" && recipe.seed === undefined}
          onClick={() => {
            remember(choice);
            actions.reuse(recipe, choice);
          }}
        >
          {t.create.reuseChoices[choice]}
        </button>
      ))}
    </>
  );
}

interface MoreMenuProps {
  job: Job;
  file: JobFile;
  canMask: boolean;
  images: ImageStates;
  actions: Actions;
}

function MoreMenu({ job, file, canMask, images, actions }: MoreMenuProps) {
  return (
    <Menu label={t.shell.more} face={<IconMore aria-hidden="true" />} class="">
      <a href={`/gallery?image=${encodeURIComponent(file.id)}`}>
        <IconSearch aria-hidden="true" />
        {t.create.details}
      </a>
      {canMask && (
        <button type="button" onClick={() => actions.mask(file)}>
          <IconMask aria-hidden="true" />
          {t.create.maskButton}
        </button>
      )}
      <button type="button" onClick={() => void actions.vary(job)}>
        <IconVary aria-hidden="true" />
        {t.create.vary}
      </button>
      <a href={file.url} download={file.name}>
        <IconDownload aria-hidden="true" />
        {t.create.download}
      </a>
      <hr />
      <ReuseItems job={job} file={file} actions={actions} />
      <hr />
      <button type="button" class="danger" onClick={() => void images.remove(file.id)}>
        <IconTrash aria-hidden="true" />
        {t.create.delete}
      </button>
    </Menu>
  );
}
