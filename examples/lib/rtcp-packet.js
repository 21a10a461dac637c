'use strict';

const { writeNtp } = require('./rtp-packet');

/** RTCP (RFC 3550 and RFC 4585), as much of it as a sender of a clip needs. */

const SENDER_REPORT = 200;
const SOURCE_DESCRIPTION = 202;
const PAYLOAD_FEEDBACK = 206;
const PLI = 1;
const FIR = 4;

/**
 * Tells RTCP from RTP on one port (RFC 5761 section 4).
 *
 * @param {Buffer} data
 * @returns {boolean}
 */
function isRtcp(data) {
  const type = data[1];

  return type !== undefined && type >= 192 && type <= 223;
}

/**
 * @param {object} fields
 * @param {number} fields.ssrc
 * @param {number} fields.time Milliseconds since 1970.
 * @param {number} fields.timestamp The RTP timestamp of that time.
 * @param {number} fields.packets Sent so far.
 * @param {number} fields.payloadBytes Sent so far.
 * @param {string} fields.cname
 * @returns {Buffer} A compound packet: sender report and source description.
 */
function buildSenderReport({ ssrc, time, timestamp, packets, payloadBytes, cname }) {
  const report = Buffer.alloc(28);

  report[0] = 0x80;
  report[1] = SENDER_REPORT;
  report.writeUInt16BE(report.length / 4 - 1, 2);
  report.writeUInt32BE(ssrc, 4);
  writeNtp(report, 8, time);
  report.writeUInt32BE(timestamp >>> 0, 16);
  report.writeUInt32BE(packets >>> 0, 20);
  report.writeUInt32BE(payloadBytes >>> 0, 24);

  const name = Buffer.from(cname, 'utf8');
  // Items end with at least one zero byte, up to a multiple of four.
  const description = Buffer.alloc(8 + Math.ceil((2 + name.length + 1) / 4) * 4);

  description[0] = 0x81;
  description[1] = SOURCE_DESCRIPTION;
  description.writeUInt16BE(description.length / 4 - 1, 2);
  description.writeUInt32BE(ssrc, 4);
  description[8] = 1; // CNAME.
  description[9] = name.length;
  name.copy(description, 10);

  return Buffer.concat([report, description]);
}

/**
 * Finds who is asked for a key frame, by PLI or FIR, in a compound packet.
 *
 * @param {Buffer} data
 * @returns {number[]} SSRCs.
 */
function parseKeyFrameRequests(data) {
  /** @type {number[]} */
  const ssrcs = [];

  for (let offset = 0; offset + 4 <= data.length; ) {
    const format = data.readUInt8(offset) & 0x1f;
    const type = data.readUInt8(offset + 1);
    const end = offset + 4 + data.readUInt16BE(offset + 2) * 4;

    if (end > data.length) {
      break;
    }

    if (type === PAYLOAD_FEEDBACK && format === PLI && end - offset >= 12) {
      ssrcs.push(data.readUInt32BE(offset + 8));
    } else if (type === PAYLOAD_FEEDBACK && format === FIR) {
      for (let entry = offset + 12; entry + 8 <= end; entry += 8) {
        ssrcs.push(data.readUInt32BE(entry));
      }
    }

    offset = end;
  }

  return ssrcs;
}

module.exports = { buildSenderReport, isRtcp, parseKeyFrameRequests };
