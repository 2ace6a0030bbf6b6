// Package fleet reads the reports of many agents from URLs and files, concurrently and within limits. It does not depend on Kubernetes or
// on the content of a report.
package fleet
