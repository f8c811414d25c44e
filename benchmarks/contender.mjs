// AWS SDK for JavaScript with bounded concurrency, as short as it is usually written.
//
//     node contender.mjs LIST.csv URL
import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import { SESv2Client, SendBulkEmailCommand } from "@aws-sdk/client-sesv2";

const AT_ONCE = 32;
const SIZE = 50;
const [path, endpoint] = process.argv.slice(2);
const client = new SESv2Client({ endpoint, maxAttempts: 1 });

async function* batches() {
  let entries = [];
  let columns;
  let n = 0;
  for await (const line of createInterface({ input: createReadStream(path) })) {
    const cells = line.split(",");
    if (!columns) {
      columns = cells;
      continue;
    }
    const row = Object.fromEntries(columns.map((column, at) => [column, cells[at]]));
    entries.push({
      Destination: { ToAddresses: [row.email] },
      ReplacementTags: [
        { Name: "campaign", Value: "november" },
        { Name: "id", Value: `run-${n++}` },
      ],
      ReplacementEmailContent: {
        ReplacementTemplate: {
          ReplacementTemplateData: JSON.stringify({ name: row.name, code: row.code }),
        },
      },
    });
    if (entries.length === SIZE) {
      yield entries;
      entries = [];
    }
  }
  if (entries.length) yield entries;
}

const source = batches();
async function worker() {
  for (;;) {
    const { value, done } = await source.next();
    if (done) return;
    await client.send(
      new SendBulkEmailCommand({
        FromEmailAddress: "News <news@example.com>",
        DefaultContent: { Template: { TemplateName: "welcome", TemplateData: '{"city":"Lisbon"}' } },
        BulkEmailEntries: value,
      }),
    );
  }
}
await Promise.all(Array.from({ length: AT_ONCE }, worker));
