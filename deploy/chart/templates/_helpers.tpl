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

{{- define "kube-devops.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end -}}

{{- define "kube-devops.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- /* Merges a list of maps; later maps override earlier ones. The function `merge` of Sprig keeps the earlier value when the later one is empty. */ -}}
{{- define "kube-devops.merge" -}}
{{- $all := dict -}}
{{- range $map := . -}}
{{- range $key, $value := $map -}}
{{- $_ := set $all $key $value -}}
{{- end -}}
{{- end -}}
{{- if $all -}}
{{- toYaml $all -}}
{{- end -}}
{{- end -}}

{{- /* Labels and annotations of an object, from the chart, the common values and its own values; later ones override. Takes the root,
the labels and annotations that the chart sets on this object, and the user's own for it. */ -}}
{{- define "kube-devops.meta" -}}
{{- $root := .root -}}
{{- include "kube-devops.checkLabels" (list "commonLabels" $root.Values.commonLabels) -}}
{{- $chart := include "kube-devops.selector" $root | fromYaml -}}
{{- $_ := set $chart "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") -}}
{{- $_ := set $chart "app.kubernetes.io/version" ($root.Chart.AppVersion | replace "+" "_" | trunc 63 | trimSuffix "-") -}}
{{- $_ := set $chart "app.kubernetes.io/managed-by" $root.Release.Service -}}
labels:
  {{- include "kube-devops.merge" (list $chart .set $root.Values.commonLabels .labels) | nindent 2 }}
{{- with include "kube-devops.merge" (list $root.Values.commonAnnotations .annotations) }}
annotations:
  {{- . | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* Labels of the pods, without versions: a new version of the chart alone does not replace the pods. */ -}}
{{- define "kube-devops.podLabels" -}}
{{- include "kube-devops.checkLabels" (list "podLabels" .Values.podLabels) -}}
{{- include "kube-devops.merge" (list (include "kube-devops.selector" . | fromYaml) .Values.commonLabels .Values.podLabels) -}}
{{- end -}}

{{- /* The selector of the Deployment, the Service and the monitors. */ -}}
{{- define "kube-devops.checkLabels" -}}
{{- $name := first . -}}
{{- $labels := last . | default dict -}}
{{- if hasKey $labels "app.kubernetes.io/name" -}}
{{- fail (printf "%s must not set app.kubernetes.io/name, which the selector uses; set nameOverride instead" $name) -}}
{{- end -}}
{{- if hasKey $labels "app.kubernetes.io/instance" -}}
{{- fail (printf "%s must not set app.kubernetes.io/instance, which the selector uses and which is the name of the release" $name) -}}
{{- end -}}
{{- end -}}

{{- define "kube-devops.podAnnotations" -}}
{{- $chart := dict "kubectl.kubernetes.io/default-container" "agent" -}}
{{- if and .Values.scrapeAnnotations (not .Values.serviceMonitor.enabled) (not .Values.podMonitor.enabled) -}}
{{- $_ := set $chart "prometheus.io/scrape" "true" -}}
{{- $_ := set $chart "prometheus.io/port" (.Values.http.port | toString) -}}
{{- $_ := set $chart "prometheus.io/path" "/metrics" -}}
{{- if .Values.http.tls.secretName -}}
{{- $_ := set $chart "prometheus.io/scheme" "https" -}}
{{- end -}}
{{- end -}}
{{- include "kube-devops.merge" (list $chart .Values.commonAnnotations .Values.podAnnotations) -}}
{{- end -}}

{{- define "kube-devops.account" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "kube-devops.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name is needed where serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- /* The subjects of a role binding: the account of the agent. */ -}}
{{- define "kube-devops.subjects" -}}
- kind: ServiceAccount
  name: {{ include "kube-devops.account" . }}
  namespace: {{ include "kube-devops.namespace" . }}
{{- end -}}

{{- define "kube-devops.lease" -}}
{{- default (printf "%s-leader" (include "kube-devops.fullname" .)) .Values.lease.name -}}
{{- end -}}

{{- define "kube-devops.leaderService" -}}
{{- default (printf "%s-leader" (include "kube-devops.fullname" .)) .Values.leaderService.name -}}
{{- end -}}

{{- /* By this label a ServiceMonitor passes over the Service of the leader: it scrapes each pod through the other Service. */ -}}
{{- define "kube-devops.leaderServiceLabels" -}}
kube-devops.io/leader-service: "true"
{{- end -}}

{{- /* An installation for selected namespaces has no permissions elsewhere, so its Lease is in the namespace of the agent. */ -}}
{{- define "kube-devops.leaseNamespace" -}}
{{- if .Values.lease.namespace -}}
{{- .Values.lease.namespace -}}
{{- else if .Values.namespaces -}}
{{- include "kube-devops.namespace" . -}}
{{- else -}}
default
{{- end -}}
{{- end -}}

{{- /* global.imageRegistry replaces the registry of the repository, if it has one. */ -}}
{{- define "kube-devops.image" -}}
{{- $repository := .Values.image.repository -}}
{{- with dig "imageRegistry" "" (.Values.global | default dict) -}}
{{- $repository = printf "%s/%s" (trimSuffix "/" .) (regexReplaceAll "^([^/]*[.:][^/]*|localhost)/" $repository "") -}}
{{- end -}}
{{- $repository -}}:{{- default .Chart.AppVersion .Values.image.tag -}}{{- with .Values.image.digest -}}@{{- . -}}{{- end -}}
{{- end -}}

{{- /* Pull secrets without duplicates, global ones first. A string means {name: STRING}. */ -}}
{{- define "kube-devops.imagePullSecrets" -}}
{{- $all := list -}}
{{- range concat (dig "imagePullSecrets" list (.Values.global | default dict)) (.Values.imagePullSecrets | default list) -}}
{{- $all = append $all (ternary (dict "name" .) . (kindIs "string" .)) -}}
{{- end -}}
{{- if $all -}}
{{- $all | uniq | toYaml -}}
{{- end -}}
{{- end -}}

{{- /* The name of the ConfigMap with the policy; empty if none is mounted. */ -}}
{{- define "kube-devops.policyConfigMap" -}}
{{- if and .Values.policy.files (not .Values.policy.table) (not .Values.policy.existingConfigMap) -}}
{{- fail "policy.files needs policy.table, which extends them" -}}
{{- end -}}
{{- if .Values.policy.existingConfigMap -}}
{{- if or .Values.policy.table .Values.policy.waivers .Values.policy.files -}}
{{- fail "policy.existingConfigMap cannot be combined with policy.table, policy.files or policy.waivers; add them to that ConfigMap" -}}
{{- end -}}
{{- .Values.policy.existingConfigMap -}}
{{- else if or .Values.policy.table .Values.policy.waivers -}}
{{- include "kube-devops.fullname" . -}}-policy
{{- end -}}
{{- end -}}

{{- /* A file whose content is given as text or as YAML. */ -}}
{{- define "kube-devops.file" -}}
{{- if kindIs "string" . -}}{{- trimSuffix "\n" . -}}{{- else -}}{{- toYaml . -}}{{- end -}}
{{- end -}}

{{- /* A time that is the given durations after a fixed time, so that durations can be compared as text. */ -}}
{{- define "kube-devops.after" -}}
{{- $moment := toDate "2006-01-02" "2000-01-01" -}}
{{- range . -}}{{- $moment = mustDateModify . $moment -}}{{- end -}}
{{- dateInZone "2006-01-02T15:04:05.000000000" $moment "UTC" -}}
{{- end -}}

{{- define "kube-devops.args" -}}
{{- with .Values.lease -}}
{{- if ge (include "kube-devops.after" (list .renewDeadline .retryPeriod)) (include "kube-devops.after" (list .duration)) -}}
{{- fail (printf "lease.duration %s must be greater than lease.renewDeadline %s plus lease.retryPeriod %s; otherwise a standby takes over before the leader gives up" .duration .renewDeadline .retryPeriod) -}}
{{- end -}}
{{- end -}}
{{- include "kube-devops.checkArgs" . -}}
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
{{- with .Values.namespaces }}
- {{ printf "--namespaces=%s" (join "," .) | quote }}
{{- end }}
- --listen=:{{ .Values.http.port }}
{{- with .Values.healthListen }}
{{- if eq (int .) (int $.Values.http.port) }}
{{- fail (printf "healthListen must differ from http.port, got %v for both" .) }}
{{- end }}
- --health-listen=:{{ . }}
{{- end }}
- --lease-namespace={{ include "kube-devops.leaseNamespace" . }}
- --lease-name={{ include "kube-devops.lease" . }}
- --lease-duration={{ .Values.lease.duration }}
- --renew-deadline={{ .Values.lease.renewDeadline }}
- --retry-period={{ .Values.lease.retryPeriod }}
{{- if .Values.leaderService.enabled }}
- --leader-service={{ include "kube-devops.namespace" . }}/{{ include "kube-devops.leaderService" . }}
- --pod-ips=$(POD_IPS)
{{- end }}
- --log-level={{ .Values.logLevel }}
{{- with .Values.externalURL }}
- {{ printf "--external-url=%s" . | quote }}
{{- end }}
{{- with .Values.historyURL }}
- {{ printf "--history-url=%s" . | quote }}
{{- end }}
{{- if .Values.http.tls.secretName }}
- --tls-cert-file=/etc/kube-devops-tls/tls.crt
- --tls-private-key-file=/etc/kube-devops-tls/tls.key
{{- end }}
{{- if .Values.http.auth }}
{{- if not .Values.http.tls.secretName }}
{{- fail "http.auth requires http.tls.secretName, because tokens must not be sent unencrypted" }}
{{- end }}
- --metrics-auth
{{- with .Values.http.authAudiences }}
- {{ printf "--metrics-auth-audiences=%s" (join "," .) | quote }}
{{- end }}
{{- else if .Values.http.authAudiences }}
{{- fail "http.authAudiences requires http.auth" }}
{{- end }}
{{- range .Values.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end -}}

{{- /* Rejects flags in extraArgs that ports, probes or roles depend on. */ -}}
{{- define "kube-devops.checkArgs" -}}
{{- $values := dict "listen" "http.port" "health-listen" "healthListen" "namespaces" "namespaces" "lease-namespace" "lease.namespace" "lease-name" "lease.name" "tls-cert-file" "http.tls.secretName" "tls-private-key-file" "http.tls.secretName" "metrics-auth" "http.auth" "leader-service" "leaderService.enabled" "pod-ips" "leaderService.enabled" "external-url" "externalURL" -}}
{{- range .Values.extraArgs -}}
{{- $flag := regexReplaceAll "^--?([^=]*).*$" . "${1}" -}}
{{- with get $values $flag -}}
{{- fail (printf "extraArgs must not set --%s, which other objects depend on; set %s instead" $flag .) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* The environment variables of the chart, unless the user sets them, and those of the user. */ -}}
{{- define "kube-devops.env" -}}
{{- $extra := .Values.extraEnv | default list -}}
{{- include "kube-devops.checkTwice" (list "extraEnv" "name" $extra) -}}
{{- $names := list -}}
{{- range $extra -}}
{{- $names = append $names .name -}}
{{- end -}}
{{- $memory := include "kube-devops.goMemLimit" . -}}
{{- if and $memory (not (has "GOMEMLIMIT" $names)) }}
- name: GOMEMLIMIT # below the memory limit, so that the garbage collector runs before the kernel kills the process
  value: {{ $memory }}
{{- end }}
{{- if and .Values.leaderService.enabled (not (has "POD_IPS" $names)) }}
- name: POD_IPS # for --pod-ips
  valueFrom:
    fieldRef:
      fieldPath: status.podIPs
{{- end }}
{{- with $extra }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* Rejects duplicate entries, which the API server or Helm would reject. Takes the name of the list, its key, and the list. */ -}}
{{- define "kube-devops.checkTwice" -}}
{{- $list := index . 0 -}}
{{- $key := index . 1 -}}
{{- $seen := dict -}}
{{- range index . 2 -}}
{{- $value := get . $key | toString -}}
{{- if hasKey $seen $value -}}
{{- fail (printf "%s has duplicate entries with %s %s" $list $key $value) -}}
{{- end -}}
{{- $_ := set $seen $value true -}}
{{- end -}}
{{- end -}}

{{- /* The volumes of the chart and of the user. Takes the root. */ -}}
{{- define "kube-devops.volumes" -}}
{{- $all := list -}}
{{- with include "kube-devops.policyConfigMap" . -}}
{{- $all = append $all (dict "name" "policy" "configMap" (dict "name" .)) -}}
{{- end -}}
{{- with .Values.http.tls.secretName -}}
{{- /* 0440 in decimal: only the group can read the key. */ -}}
{{- $all = append $all (dict "name" "tls" "secret" (dict "secretName" . "defaultMode" 288)) -}}
{{- end -}}
{{- $all = concat $all (.Values.extraVolumes | default list) -}}
{{- include "kube-devops.checkTwice" (list "extraVolumes together with the volumes of the chart" "name" $all) -}}
{{- if $all -}}
{{- toYaml $all -}}
{{- end -}}
{{- end -}}

{{- define "kube-devops.volumeMounts" -}}
{{- $all := list -}}
{{- if include "kube-devops.policyConfigMap" . -}}
{{- /* Mounted as a directory: a subPath mount does not receive changes. */ -}}
{{- $all = append $all (dict "name" "policy" "mountPath" "/etc/kube-devops" "readOnly" true) -}}
{{- end -}}
{{- if .Values.http.tls.secretName -}}
{{- $all = append $all (dict "name" "tls" "mountPath" "/etc/kube-devops-tls" "readOnly" true) -}}
{{- end -}}
{{- $all = concat $all (.Values.extraVolumeMounts | default list) -}}
{{- include "kube-devops.checkTwice" (list "extraVolumeMounts together with the mounts of the chart" "mountPath" $all) -}}
{{- if $all -}}
{{- toYaml $all -}}
{{- end -}}
{{- end -}}

{{- /* 90 % of the memory limit, in any unit. */ -}}
{{- define "kube-devops.goMemLimit" -}}
{{- $limit := dig "limits" "memory" "" (.Values.resources | default dict) | toString -}}
{{- $units := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{- if .Values.goMemLimit -}}
{{- .Values.goMemLimit -}}
{{- else if regexMatch "^[0-9]+(\\.[0-9]+)?([kMGT]|[KMGT]i)?$" $limit -}}
{{- $unit := regexReplaceAll "^[0-9.]+" $limit "" -}}
{{- divf (mulf (trimSuffix $unit $limit | float64) (get $units $unit) 0.9) 1048576 | floor | int64 -}}MiB
{{- end -}}
{{- end -}}

{{- define "kube-devops.scheme" -}}
{{- if .Values.http.tls.secretName -}}HTTPS{{- else -}}HTTP{{- end -}}
{{- end -}}

{{- /* A probe. Takes the root, the path, and the timing values. */ -}}
{{- define "kube-devops.probe" -}}
httpGet:
  path: {{ .path }}
  {{- if .root.Values.healthListen }}
  port: health
  scheme: HTTP
  {{- else }}
  port: http
  scheme: {{ include "kube-devops.scheme" .root }}
  {{- end }}
{{- range $key, $value := .times }}
{{ $key }}: {{ $value }}
{{- end }}
{{- end -}}

{{- /* The selector of a monitor, which may be in another namespace. Takes the root and the monitor. */ -}}
{{- define "kube-devops.monitored" -}}
selector:
  matchLabels:
    {{- include "kube-devops.selector" .root | nindent 4 }}
  {{- if .root.Values.leaderService.enabled }}
  matchExpressions:
    - {key: kube-devops.io/leader-service, operator: DoesNotExist}
  {{- end }}
{{- if ne (.monitor.namespace | default (include "kube-devops.namespace" .root)) (include "kube-devops.namespace" .root) }}
namespaceSelector:
  matchNames: [{{ include "kube-devops.namespace" .root }}]
{{- end }}
{{- end -}}

{{- /* An endpoint of a monitor. Takes the root and the monitor. */ -}}
{{- define "kube-devops.endpoint" -}}
{{- $label := .root.Values.namespaceLabel -}}
- port: http
  path: /metrics
  scheme: {{ include "kube-devops.scheme" .root | lower }}
  interval: {{ .monitor.interval }}
  scrapeTimeout: {{ .monitor.scrapeTimeout }}
  {{- if eq $label "namespace" }}
  honorLabels: true # the label namespace names the scored namespace, not that of the agent
  {{- else }}
  honorLabels: false # Prometheus renames the label namespace of the agent to exported_namespace
  {{- end }}
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
  {{- $renamed := list -}}
  {{- if not (has $label (list "namespace" "exported_namespace")) -}}
  {{- $renamed = list (dict "sourceLabels" (list "exported_namespace") "regex" "(.+)" "targetLabel" $label) (dict "regex" "exported_namespace" "action" "labeldrop") -}}
  {{- end -}}
  {{- with concat $renamed (.monitor.metricRelabelings | default list) }}
  metricRelabelings:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{- /* The groups of a rule file, with the values for the namespace label and the Critical grade. The files have the defaults, so
that Prometheus can load them unchanged. Takes the root and the name. */ -}}
{{- define "kube-devops.rules" -}}
{{- $label := .root.Values.namespaceLabel -}}
{{- $groups := (include "kube-devops.critical" (dict "root" .root "text" (.root.Files.Get .file)) | fromYaml).groups -}}
{{- if ne $label "namespace" -}}
{{- range $group := $groups -}}
{{- range $rule := $group.rules -}}
{{- $expr := $rule.expr | replace "{exported_namespace!=\"\"}" (printf "{%s=\"\"}" $label) -}}
{{- $_ := set $rule "expr" (regexReplaceAll "\\bnamespace\\b" $expr $label) -}}
{{- with $rule.annotations -}}
{{- $_ := set . "summary" (.summary | replace "$labels.namespace" (printf "$labels.%s" $label)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if eq .file "rules/cluster.yaml" -}}
{{- range $group := $groups -}}
{{- range $rule := $group.rules -}}
{{- with and $rule.alert $rule.annotations -}}
{{- include "kube-devops.page" (dict "root" $.root "alert" $rule.alert "annotations" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml $groups -}}
{{- end -}}

{{- /* Adds the annotation page to an alert: the view of the status page that has its cause, if externalURL is set. An alert about one
namespace leads to that namespace. Takes the root, the name of the alert and its annotations. */ -}}
{{- define "kube-devops.page" -}}
{{- $views := dict "KubeDevopsComplianceFalling" "/" "KubeDevopsCriticalAtInstallation" "/" "KubeDevopsWaiverExpires" "/waivers" "KubeDevopsPolicyReloadFailing" "/policy" "KubeDevopsPoliciesDiffer" "/policy" -}}
{{- with .root.Values.externalURL | trimSuffix "/" -}}
{{- $label := printf "$labels.%s" $.root.Values.namespaceLabel -}}
{{- if contains (printf "{{ %s }}" $label) $.annotations.summary -}}
{{- $_ := set $.annotations "page" (printf "%s/namespaces/{{ %s }}" . $label) -}}
{{- else if hasKey $views $.alert -}}
{{- $_ := set $.annotations "page" (print . (get $views $.alert)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* A dashboard with the values for the namespace label and the Critical grade. Takes the root and the text. */ -}}
{{- define "kube-devops.dashboard" -}}
{{- $text := include "kube-devops.critical" . -}}
{{- with .root.Values.externalURL -}}
{{- $links := printf " \"links\": [{\"title\": \"Status page\", \"type\": \"link\", \"icon\": \"external link\", \"targetBlank\": true, \"url\": %s}],\n" (toJson .) -}}
{{- if contains "\"uid\": \"kube-devops\"" $text -}}
{{- $text = $text | replace "\n \"templating\": {" (printf "\n%s \"templating\": {" $links) -}}
{{- end -}}
{{- end -}}
{{- if ne .root.Values.namespaceLabel "namespace" -}}
{{- $text = regexReplaceAll "(\\(|, |\\{\\{)namespace(,|\\)|\\}\\}|=~)" $text (printf "${1}%s${2}" .root.Values.namespaceLabel) -}}
{{- end -}}
{{- $text -}}
{{- end -}}

{{- /* Rules or a dashboard with the thresholds of the values. Takes the root and the text. */ -}}
{{- define "kube-devops.critical" -}}
{{- $below := printf "< bool %v" (divf .root.Values.prometheusRule.criticalBelow 100) -}}
{{- $grade := printf ">= bool %v" .root.Values.prometheusRule.criticalGrade -}}
{{- .text | replace "< bool 0.4" $below | replace ">= bool 3" $grade -}}
{{- end -}}
