// What the server refused, and who changed which setting.
import { Page } from "../../../components/page.tsx";
import { location, setQuery } from "../../../router.ts";
import { t } from "../../../text/index.ts";
import { Tabs } from "../tabs.tsx";
import { Changes } from "./changes.tsx";
import { RefusalsTab } from "./refusals_tab.tsx";

export { Aside } from "../aside.tsx";

const TABS = ["refusals", "changes"] as const;

export default function AuditPage() {
  const tab = location.value.query.get("tab") === "changes" ? "changes" : "refusals";
  const tabs = TABS.map((name) => ({ name, title: t.admin.audit.tabs[name] }));
  return (
    <Page title={t.admin.audit.title}>
      <div class="sheet">
        <Tabs label={t.admin.audit.title} tabs={tabs} current={tab} onChoose={(it) => setQuery({ tab: it === "refusals" ? undefined : it })}>
          {tab === "refusals" ? <RefusalsTab /> : <Changes />}
        </Tabs>
      </div>
    </Page>
  );
}
