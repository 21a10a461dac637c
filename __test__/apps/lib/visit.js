'use strict';

const { Client } = require('./client');
const { Media } = require('./media');
const { RunningApp } = require('./running-app');
const { Transcript } = require('./transcript');

/** @import { Place } from './places' */

/**
 * What a script has to do with.
 *
 * @typedef {object} Visit
 * @property {Media} media
 * @property {(name: string) => Promise<Client>} enter A client that is connected to the app.
 */

/**
 * Lets a script use a running app.
 *
 * @param {RunningApp} app
 * @param {(visit: Visit) => Promise<void>} script
 * @returns {Promise<unknown[]>} The transcript.
 */
async function visit(app, script) {
  const transcript = new Transcript();
  const media = new Media();
  /** @type {Client[]} */
  const clients = [];

  try {
    await script({
      media,
      async enter(name) {
        const client = await Client.open(name, app.port, transcript);

        clients.push(client);

        return client;
      },
    });
  } catch (error) {
    throw new Error(
      `${error instanceof Error ? error.stack : error}\nafter ${JSON.stringify(transcript.entries.slice(-6))}\nThe app said: ${app.log}`,
    );
  } finally {
    media.close();
    await Promise.all(clients.map((client) => client.close()));
  }

  return transcript.entries;
}

/**
 * Starts an app, lets a script use it, and stops it.
 *
 * @param {string} file
 * @param {Place} place
 * @param {(visit: Visit) => Promise<void>} script
 * @param {NodeJS.ProcessEnv} [env]
 * @returns {Promise<unknown[]>} The transcript.
 */
async function visitOnce(file, place, script, env) {
  const app = await RunningApp.start(file, place, env);

  try {
    const transcript = await visit(app, script);

    expect(await app.stop()).toEqual({ code: 0, signal: null });

    return transcript;
  } finally {
    app.kill();
  }
}

module.exports = { visit, visitOnce };
