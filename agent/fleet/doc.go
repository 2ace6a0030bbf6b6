// Package fleet reads the reports of many agents, from their URLs and from files, at the same time and within limits. It knows no
// Kubernetes, and nothing of what a report says.
package fleet
