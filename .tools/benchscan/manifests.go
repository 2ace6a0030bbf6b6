package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"text/tabwriter"
)

// manifestFiles is how many small files the comparison of manifests has.
const manifestFiles = 5000

// countManifests counts pods and workloads with PyYAML's C loader, as a scan must at the least.
const countManifests = `
import glob, sys, yaml
n = 0
for name in sorted(glob.glob(sys.argv[1] + "/*.yaml")):
    with open(name, "rb") as f:
        for d in yaml.load_all(f, Loader=yaml.CSafeLoader):
            n += bool(d) and (d.get("kind") == "Pod" or "template" in d.get("spec", {}))
print(n)
`

// compareManifests measures the scan of many small files beside PyYAML and kube-score, each where it is there.
func compareManifests(runs int, binary, folder string) error {
	if err := writeManifests(folder); err != nil {
		return err
	}
	type program struct {
		name    string
		command []string
		best    result
		runs    int
	}
	programs := []*program{{name: "scan", command: []string{binary, "scan", "-o", "json", folder}, runs: runs}}
	const python = "/usr/bin/python3" // Debian's, which python3-yaml belongs to
	if err := exec.Command(python, "-c", "import yaml; yaml.CSafeLoader").Run(); err != nil {
		fmt.Println("PyYAML with its C loader is not there, and is left out: apt-get install python3-yaml")
	} else {
		programs = append(programs, &program{name: "PyYAML's C loader", command: []string{python, "-c", countManifests, folder}, runs: runs})
	}
	if path, err := exec.LookPath("kube-score"); err != nil {
		fmt.Println("kube-score is not there, and is left out: go install github.com/zegl/kube-score/cmd/kube-score@latest")
	} else {
		files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
		if err != nil {
			return err
		}
		// Its exit code is 1 where it finds something.
		command := append([]string{"sh", "-c", `"$0" score -o ci "$@" >/dev/null || [ $? = 1 ]`, path}, files...)
		programs = append(programs, &program{name: "kube-score", command: command, runs: 1})
	}
	for n := range runs {
		for _, p := range programs {
			if n >= p.runs {
				continue
			}
			r, err := measure(p.command)
			if err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			rss := max(p.best.rss, r.rss)
			if n == 0 || r.cpu < p.best.cpu {
				p.best = r
			}
			p.best.rss = rss
		}
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "%d manifests\twall s\tCPU s\tpeak RSS MB\tCPU of the scan / its CPU\t\n", manifestFiles)
	for _, p := range programs {
		fmt.Fprintf(w, "%s\t%.2f\t%.2f\t%.1f\t%.2f\t\n", p.name, p.best.wall.Seconds(), p.best.cpu.Seconds(), float64(p.best.rss)/1024,
			programs[0].best.cpu.Seconds()/p.best.cpu.Seconds())
	}
	return w.Flush()
}

// writeManifests writes files like those of a repository: Pods, Deployments, and Services with a ConfigMap behind them.
func writeManifests(folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for i := range manifestFiles {
		text := fmt.Sprintf([]string{podManifest, podManifest, deploymentManifest, deploymentManifest, serviceManifest}[i%5], i, i%20)
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("%04d.yaml", i)), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

const podManifest = `apiVersion: v1
kind: Pod
metadata:
  name: pod-%d
  namespace: team-%d
  labels:
    app.kubernetes.io/name: web
    app.kubernetes.io/part-of: shop
spec:
  securityContext:
    runAsNonRoot: true
    seccompProfile:
      type: RuntimeDefault
  containers:
  - name: web
    image: registry.example.com/shop/web:1.7
    securityContext:
      allowPrivilegeEscalation: false
      capabilities:
        drop:
        - ALL
  initContainers:
  - name: init
    image: registry.example.com/shop/init:1.2
    command: ["sh", "-c", "exit 0"]
`

const deploymentManifest = `# Source: shop/templates/deployment.yaml
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web-%d
  namespace: team-%d
spec:
  replicas: 3
  selector:
    matchLabels:
      app: web
  template:
    metadata:
      labels:
        app: web
    spec:
      containers:
        - name: web
          image: "registry.example.com/shop/web:latest"
          ports:
            - containerPort: 8080
              name: http
          env:
            - name: LEVEL
              value: info
          resources:
            requests:
              cpu: 100m
              memory: 64Mi
          livenessProbe:
            httpGet:
              path: /healthz
              port: http
`

const serviceManifest = `apiVersion: v1
kind: Service
metadata:
  name: web-%d
  namespace: team-%d
spec:
  selector:
    app: web
  ports:
  - name: http
    port: 80
    targetPort: http
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: web
data:
  app.conf: |
    listen = 8080
    level = "info"
`
