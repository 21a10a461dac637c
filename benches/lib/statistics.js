'use strict';

/**
 * @param {ArrayLike<number>} values
 * @param {number} share From 0 to 1.
 * @returns {number} The smallest value that so many do not exceed.
 */
function quantile(values, share) {
  const sorted = Float64Array.from(values).sort();

  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? NaN;
}

/**
 * @param {number[]} values
 * @returns {number}
 */
function median(values) {
  const sorted = Float64Array.from(values).sort();
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? NaN;

  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? NaN) + upper) / 2;
}

/**
 * @param {number[]} values
 * @returns {number}
 */
function mean(values) {
  return values.reduce((total, value) => total + value, 0) / values.length;
}

module.exports = { mean, median, quantile };
