import { useI18n } from 'vue-i18n';

import { useAction } from '@/composables/useAction';
import { whole } from '@/lib/format';
import { csv } from '@/lib/receipts';
import { toast } from '@/ui';
import { save } from '@/ui/save';

import { type Asked, fetchAll } from './queries';

const HEAD = [
  'at',
  'source_ip',
  'method',
  'route',
  'subject',
  'subject_id',
  'status',
  'before',
  'after',
];

/** All that fits the filters, as a file of CSV. */
export function useExport(asked: () => Asked) {
  const { t, locale } = useI18n();
  return useAction({
    run: async () => {
      const { entries: found, isWhole } = await fetchAll(asked());
      const rows = found.map((entry) => [
        entry.at,
        entry.source_ip,
        entry.method,
        entry.route,
        entry.subject,
        entry.subject_id ?? '',
        entry.status,
        entry.before === null ? '' : JSON.stringify(entry.before),
        entry.after === null ? '' : JSON.stringify(entry.after),
      ]);
      save(new Blob([csv([HEAD, ...rows])], { type: 'text/csv' }), 'audit.csv');
      const told = { count: whole(found.length, locale.value) };
      toast({
        text: isWhole ? t('audit.exported', told, found.length) : t('audit.exported_part', told),
      });
    },
    failed: () => t('audit.export_failed'),
  });
}
