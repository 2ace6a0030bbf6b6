// Package deploy holds the chart, and what is rendered from it, to what they promise: its tests run Helm, promtool and the
// PromQL parser. Package image, below it, packs the image.
package deploy
