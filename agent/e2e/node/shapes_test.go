//go:build linux

package node

// shapes are workloads of every kind, that run, wait, end and fail; and two that have no pod. Names say what a pod fails of
// the default table.
const shapes = `
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: good, namespace: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: good}}
  template:
    metadata: {labels: {app: good}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - {name: web, image: workload:v1, imagePullPolicy: Never, livenessProbe: &probe {exec: {command: [/workload, ok]}}, readinessProbe: *probe}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: bad, namespace: shop}
spec:
  selector: {matchLabels: {app: bad}}
  template:
    metadata: {labels: {app: bad}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - {name: web, image: "workload:latest", imagePullPolicy: Never}
        - {name: sidecar, image: "workload:latest", imagePullPolicy: Never}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: no-readiness, namespace: shop}
spec:
  replicas: 2
  serviceName: none
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: no-readiness}}
  template:
    metadata: {labels: {app: no-readiness}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - {name: db, image: workload:v1, imagePullPolicy: Never, livenessProbe: {exec: {command: [/workload, ok]}}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: no-liveness, namespace: shop}
spec:
  selector: {matchLabels: {app: no-liveness}}
  template:
    metadata: {labels: {app: no-liveness}}
    spec:
      terminationGracePeriodSeconds: 1
      initContainers:
        - {name: first, image: "workload:latest", imagePullPolicy: Never, args: [ok]}
      containers:
        - {name: agent, image: workload:v1, imagePullPolicy: Never, readinessProbe: {exec: {command: [/workload, ok]}}}
---
apiVersion: batch/v1
kind: Job
metadata: {name: job, namespace: shop}
spec:
  template:
    spec:
      restartPolicy: Never
      containers:
        - {name: once, image: workload:v1, imagePullPolicy: Never, args: [ok]}
---
apiVersion: v1
kind: Pod
metadata: {name: alone}
spec:
  containers:
    - {name: crashes, image: workload:v1, imagePullPolicy: Never, args: [fail]}
---
apiVersion: v1
kind: Pod
metadata: {name: pending}
spec:
  nodeSelector: {no: node}
  containers:
    - {name: waits, image: "workload:latest", imagePullPolicy: Never}
---
apiVersion: v1
kind: Pod
metadata: {name: no-image}
spec:
  containers:
    - {name: cannot, image: "absent:latest", imagePullPolicy: Never}
---
apiVersion: v1
kind: Namespace
metadata: {name: idle}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: idle, namespace: idle}
spec:
  schedule: "0 0 29 2 *"
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers: [{name: once, image: "workload:latest", imagePullPolicy: Never}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: zero, namespace: idle}
spec:
  replicas: 0
  selector: {matchLabels: {app: zero}}
  template:
    metadata: {labels: {app: zero}}
    spec:
      containers: [{name: web, image: "workload:latest", imagePullPolicy: Never}]
`

// team is a namespace of one Deployment, whose containers fail every check, or none.
func team(image, probes string) string {
	return `
apiVersion: v1
kind: Namespace
metadata: {name: team}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: team}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - {name: web, image: "` + image + `", imagePullPolicy: Never` + probes + `}
`
}

const bothProbes = `, livenessProbe: {exec: {command: [/workload, ok]}}, readinessProbe: {exec: {command: [/workload, ok]}}`

// hog takes more memory than it may.
const hog = `
apiVersion: v1
kind: Pod
metadata: {name: hog}
spec:
  restartPolicy: OnFailure
  containers:
    - {name: eats, image: workload:v1, imagePullPolicy: Never, args: [eat], resources: {limits: {memory: 32Mi}}}
`
