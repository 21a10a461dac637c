/**
 * `node -r mediasoup-horizontal/register app.js`: whatever the app requires or imports as
 * `mediasoup` is this package. It exports nothing.
 */
export {};
