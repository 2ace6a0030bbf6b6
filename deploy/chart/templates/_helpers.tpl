{{- define "kube-devops.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "kube-devops.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- /* Of every object. What Helm and the chart are called stays out of pods, which a new chart alone need not replace. */ -}}
{{- define "kube-devops.labels" -}}
{{- $own := include "kube-devops.selector" . | fromYaml -}}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") -}}
{{- $_ := set $own "app.kubernetes.io/version" (.Chart.AppVersion | replace "+" "_" | trunc 63 | trimSuffix "-") -}}
{{- $_ := set $own "app.kubernetes.io/managed-by" .Release.Service -}}
{{- merge $own .Values.commonLabels | toYaml -}}
{{- end -}}

{{- define "kube-devops.podLabels" -}}
{{- merge (include "kube-devops.selector" . | fromYaml) .Values.podLabels .Values.commonLabels | toYaml -}}
{{- end -}}

{{- define "kube-devops.account" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "kube-devops.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name is needed where serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "kube-devops.lease" -}}
{{- default (printf "%s-leader" (include "kube-devops.fullname" .)) .Values.lease.name -}}
{{- end -}}

{{- define "kube-devops.image" -}}
{{- $tag := default .Chart.AppVersion .Values.image.tag -}}
{{- .Values.image.repository -}}:{{- $tag -}}{{- with .Values.image.digest -}}@{{- . -}}{{- end -}}
{{- end -}}

{{- /* The name of the ConfigMap with the policy; empty where none is mounted. */ -}}
{{- define "kube-devops.policyConfigMap" -}}
{{- if .Values.policy.existingConfigMap -}}
{{- if or .Values.policy.table .Values.policy.waivers -}}
{{- fail "policy.existingConfigMap excludes policy.table and policy.waivers: put them into that ConfigMap" -}}
{{- end -}}
{{- .Values.policy.existingConfigMap -}}
{{- else if or .Values.policy.table .Values.policy.waivers -}}
{{- include "kube-devops.fullname" . -}}-policy
{{- end -}}
{{- end -}}

{{- /* A file that is given as text, or as YAML. */ -}}
{{- define "kube-devops.file" -}}
{{- if kindIs "string" . -}}{{- trimSuffix "\n" . -}}{{- else -}}{{- toYaml . -}}{{- end -}}
{{- end -}}

{{- /* A moment that is as long after another as the durations say: so two lengths of time can be compared, as text. */ -}}
{{- define "kube-devops.after" -}}
{{- $moment := toDate "2006-01-02" "2000-01-01" -}}
{{- range . -}}{{- $moment = mustDateModify . $moment -}}{{- end -}}
{{- dateInZone "2006-01-02T15:04:05.000000000" $moment "UTC" -}}
{{- end -}}

{{- define "kube-devops.args" -}}
{{- with .Values.lease -}}
{{- if ge (include "kube-devops.after" (list .renewDeadline .retryPeriod)) (include "kube-devops.after" (list .duration)) -}}
{{- fail (printf "lease.duration %s must be more than lease.renewDeadline %s and lease.retryPeriod %s together: else another leads before the leader has given up" .duration .renewDeadline .retryPeriod) -}}
{{- end -}}
{{- end -}}
{{- $folder := "/etc/kube-devops" -}}
- agent
{{- if .Values.policy.existingConfigMap }}
- --policy={{ $folder }}/{{ .Values.policy.tableKey }}
{{- with .Values.policy.waiversKey }}
- --waivers={{ $folder }}/{{ . }}
{{- end }}
{{- else }}
- --policy={{ if .Values.policy.table }}{{ $folder }}/policy.yaml{{ else }}{{ .Values.policy.name }}{{ end }}
{{- if .Values.policy.waivers }}
- --waivers={{ $folder }}/waivers.yaml
{{- end }}
{{- end }}
- --listen=:{{ .Values.http.port }}
- --lease-namespace={{ .Values.lease.namespace }}
- --lease-name={{ include "kube-devops.lease" . }}
- --lease-duration={{ .Values.lease.duration }}
- --renew-deadline={{ .Values.lease.renewDeadline }}
- --retry-period={{ .Values.lease.retryPeriod }}
- --log-level={{ .Values.logLevel }}
{{- if .Values.http.tls.secretName }}
- --tls-cert-file=/etc/kube-devops-tls/tls.crt
- --tls-private-key-file=/etc/kube-devops-tls/tls.key
{{- end }}
{{- if .Values.http.auth }}
{{- if not .Values.http.tls.secretName }}
{{- fail "http.auth needs http.tls.secretName: tokens must not travel in the clear" }}
{{- end }}
- --metrics-auth
{{- end }}
{{- range .Values.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end -}}

{{- define "kube-devops.goMemLimit" -}}
{{- $limit := dig "limits" "memory" "" .Values.resources | toString -}}
{{- if .Values.goMemLimit -}}
{{- .Values.goMemLimit -}}
{{- else if regexMatch "^[0-9]+Mi$" $limit -}}
{{- div (mul (trimSuffix "Mi" $limit | int) 9) 10 -}}MiB
{{- else if regexMatch "^[0-9]+Gi$" $limit -}}
{{- div (mul (trimSuffix "Gi" $limit | int) 9216) 10 -}}MiB
{{- end -}}
{{- end -}}

{{- define "kube-devops.scheme" -}}
{{- if .Values.http.tls.secretName -}}HTTPS{{- else -}}HTTP{{- end -}}
{{- end -}}

{{- /* One endpoint of a monitor; takes the root and the monitor. */ -}}
{{- define "kube-devops.endpoint" -}}
- port: http
  path: /metrics
  scheme: {{ include "kube-devops.scheme" .root | lower }}
  interval: {{ .monitor.interval }}
  scrapeTimeout: {{ .monitor.scrapeTimeout }}
  honorLabels: true # the label namespace is of the scored namespace, not of the agent's
  {{- with .monitor.tlsConfig }}
  tlsConfig:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .monitor.authorization }}
  authorization:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .monitor.relabelings }}
  relabelings:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
