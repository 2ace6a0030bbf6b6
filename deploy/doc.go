// Package deploy tests the chart and the manifests that are rendered from it, with Helm, promtool and the PromQL parser. Package
// image, below it, builds the image.
package deploy
