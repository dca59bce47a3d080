{{- define "pinhole.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}
{{- end -}}
{{- end -}}

{{- define "pinhole.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "pinhole.labels" -}}
{{ include "pinhole.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{/* The pod of either kind of workload. */}}
{{- define "pinhole.pod" -}}
metadata:
  labels:
    {{- include "pinhole.labels" . | nindent 4 }}
  {{- with .Values.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.serviceAccountName }}
  serviceAccountName: {{ . }}
  {{- end }}
  automountServiceAccountToken: false
  # Variables that name services would look like those of the server.
  enableServiceLinks: false
  # preStop, PINHOLE_DRAIN_SECS (30), then the time in which the server ends its responses.
  terminationGracePeriodSeconds: 90
  securityContext:
    runAsNonRoot: true
    runAsUser: 10001
    runAsGroup: 10001
    fsGroup: 10001
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile:
      type: RuntimeDefault
  {{- if .Values.severalHosts.enabled }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "pinhole.selector" . | nindent 10 }}
  {{- end }}
  containers:
    - name: pinhole
      image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities:
          drop: [ALL]
      ports:
        - name: http
          containerPort: 8080
        {{- if .Values.metrics.enabled }}
        - name: metrics
          containerPort: 9464
        {{- end }}
      env:
        # A directory of its own, because Kubernetes makes that of a volume writable for the group.
        - name: PINHOLE_DATA
          value: /data/pinhole
        {{- if .Values.metrics.enabled }}
        - name: PINHOLE_METRICS_LISTEN
          value: ":9464"
        {{- end }}
        {{- with .Values.trustedProxies }}
        - name: PINHOLE_TRUSTED_PROXIES
          value: {{ . | quote }}
        {{- end }}
        {{- if .Values.severalHosts.enabled }}
        - name: STORAGE_PROVIDER
          value: s3
        - name: S3_BUCKET_NAME
          value: {{ .Values.severalHosts.s3.bucket | quote }}
        {{- with .Values.severalHosts.s3.region }}
        - name: S3_REGION_NAME
          value: {{ . | quote }}
        {{- end }}
        {{- with .Values.severalHosts.s3.endpoint }}
        - name: S3_ENDPOINT_URL
          value: {{ . | quote }}
        {{- end }}
        {{- with .Values.severalHosts.s3.addressingStyle }}
        - name: S3_ADDRESSING_STYLE
          value: {{ . | quote }}
        {{- end }}
        {{- end }}
        {{- range $name, $value := .Values.env }}
        - name: {{ $name }}
          value: {{ $value | toString | quote }}
        {{- end }}
      {{- if or .Values.severalHosts.enabled .Values.secretNames }}
      envFrom:
        {{- if .Values.severalHosts.enabled }}
        - secretRef:
            name: {{ .Values.severalHosts.secretName }}
        {{- end }}
        {{- range .Values.secretNames }}
        - secretRef:
            name: {{ . }}
        {{- end }}
      {{- end }}
      # The server listens before it compiles its engines.
      startupProbe:
        httpGet: {path: /health, port: http}
        periodSeconds: 2
        failureThreshold: 60
      livenessProbe:
        httpGet: {path: /health, port: http}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet: {path: /ready, port: http}
        periodSeconds: 2
        timeoutSeconds: 5
        failureThreshold: 2
      lifecycle:
        preStop:
          exec:
            # Until no proxy sends new requests to this pod.
            command: [sleep, "5"]
      resources:
        {{- toYaml .Values.resources | nindent 8 }}
      volumeMounts:
        - name: data
          mountPath: /data
  {{- if .Values.severalHosts.enabled }}
  volumes:
    - name: data
      emptyDir:
        sizeLimit: {{ .Values.ephemeralStorage }}
  {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
