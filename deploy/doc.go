// Package deploy tests the chart and the manifests that are rendered from it, with Helm, promtool and the PromQL parser. Package
// pack, below it, packs images and releases.
package deploy
