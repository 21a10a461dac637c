'use strict';

/** docs/configuration.md and the typings, against the table and the agent. */

const { execFileSync, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const ts = require('typescript');
const { CONSTRUCTORS, ENVIRONMENT } = require('../../js/configuration');
const { agentPath } = require('../../js/native');

const ROOT = path.join(__dirname, '..', '..');
const PAGE = fs.readFileSync(path.join(ROOT, 'docs', 'configuration.md'), 'utf8');
const SCRIPT = path.join(ROOT, 'scripts', 'configuration-docs.js');

/** What index.d.ts declares. @param {string} name @returns {Map<string, { optional: boolean, doc: string }>} */
function membersOf(name) {
  const file = path.join(ROOT, 'index.d.ts');
  const source = ts.createSourceFile(
    file,
    fs.readFileSync(file, 'utf8'),
    ts.ScriptTarget.Latest,
    true,
  );
  const declared = source.statements
    .filter(ts.isInterfaceDeclaration)
    .find((one) => one.name.text === name);

  return new Map(
    declared?.members.map((member) => [
      /** @type {ts.Identifier} */ (member.name).text,
      {
        optional: member.questionToken !== undefined,
        doc: ts
          .getJSDocCommentsAndTags(member)
          .map((doc) => doc.getText())
          .join(' ')
          .replace(/\s+\*\s+/g, ' '),
      },
    ]),
  );
}

test('the page is what the table and the agent make it', () => {
  const { status, stderr } = spawnSync(process.execPath, [SCRIPT, '--check'], { encoding: 'utf8' });

  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
});

test.each(Object.entries(CONSTRUCTORS))(
  'the options of %s are those of index.d.ts',
  (owner, options) => {
    const members = membersOf(`${owner}Options`);

    expect(options.map(({ name }) => name).sort()).toEqual([...members.keys()].sort());
    for (const { name, required = false, fallback } of options) {
      const { optional, doc } = members.get(name) ?? { optional: false, doc: '' };

      expect({ name, optional }).toEqual({ name, optional: !required });
      // Figures and words that count as default there are the ones here.
      const told = doc.replaceAll('`', '');
      const figure = /\d{3,}|^0\.\d$|^\d$/.exec(fallback)?.[0];
      const word = /^`(\w+)`$/.exec(fallback)?.[1];

      expect({ name, told }).toEqual({
        name,
        told: expect.stringContaining(figure ?? word ?? ''),
      });
    }
  },
);

test('the page has a row for each option and variable', () => {
  const options = Object.values(CONSTRUCTORS).flat();
  const variables = Object.values(ENVIRONMENT).flat();

  expect(options.length).toBeGreaterThan(30);
  for (const { name } of [...options, ...variables]) {
    expect(PAGE).toContain(`\n| \`${name}\` | `);
  }
});

test.each([[[]], [['drain']], [['status']]])(
  "the page has the options of 'agent %j'",
  (command) => {
    const help = execFileSync(agentPath, [...command, '--help'], { encoding: 'utf8' });
    const flags = [...help.matchAll(/^ +(?:-\w, )?--([\w-]+)/gm)].map(([, flag]) => flag);
    const own = flags.filter((flag) => !['help', 'version'].includes(flag));

    expect(own.length).toBeGreaterThan(2);
    for (const flag of own) {
      expect(PAGE).toMatch(new RegExp(`\\n\\| \`--${flag}[ \`]`));
    }
  },
);

test('links of the page lead somewhere', () => {
  const links = [...PAGE.matchAll(/\]\(([^)#]+)/g)].map(([, link]) => link);

  expect(links.length).toBeGreaterThan(5);
  for (const link of links) {
    expect({ link, there: fs.existsSync(path.join(ROOT, 'docs', link)) }).toEqual({
      link,
      there: true,
    });
  }
});
