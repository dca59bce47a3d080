// The configuration of the server: what is in effect and why, and every setting with its origin.
import { useState } from "preact/hooks";
import { get } from "../../../api/client.ts";
import { Failure, Notice } from "../../../components/notice.tsx";
import { Page } from "../../../components/page.tsx";
import { useResource } from "../../../components/resource.ts";
import { Skeleton } from "../../../components/skeleton.tsx";
import { IconDownload } from "../../../icons.ts";
import { t } from "../../../text/index.ts";
import { Effective } from "./effective.tsx";
import { ImportButton } from "./import_button.tsx";
import { SettingList } from "./setting_list.tsx";

export { Aside } from "../aside.tsx";

export default function ConfigurationPage() {
  const effective = useResource((signal) => get("/api/v1/settings/effective", { signal }), []);
  const settings = useResource((signal) => get("/api/v1/settings", { signal }), []);
  const [isImported, setIsImported] = useState(false);
  const onImported = () => {
    setIsImported(true);
    effective.reload();
    settings.reload();
  };
  const actions = (
    <>
      <a class="button" href="/api/v1/configs/export" download="pinhole-settings.json" aria-label={t.admin.configuration.export}>
        <IconDownload aria-hidden="true" />
        <span class="wide-only">{t.admin.configuration.export}</span>
      </a>
      <ImportButton onDone={onImported} />
    </>
  );
  return (
    <Page title={t.admin.configuration.title} actions={actions}>
      <div class="sheet">
        {isImported && <Notice>{t.admin.configuration.imported}</Notice>}
        {effective.error !== undefined && <Failure error={effective.error} onRetry={effective.reload} />}
        {effective.value ? <Effective settings={effective.value} /> : effective.error === undefined && <Skeleton class="tiles-skeleton" />}
        {settings.error !== undefined && <Failure error={settings.error} onRetry={settings.reload} />}
        {settings.value ? <SettingList settings={settings.value} /> : settings.error === undefined && <Skeleton class="chart-skeleton" />}
      </div>
    </Page>
  );
}
