# vxlane as a container: `docker build -t vxlane .` at the root of the repository. It needs the host's network,
# NET_ADMIN, NET_RAW and /dev/net/tun; deploy/kubernetes/vxlane-flannel.yaml asks for them.

FROM node:22-slim AS build
WORKDIR /src
COPY package.json package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY . .
RUN npm run build
# What runs: the dependencies, and the Kubernetes client, which the package leaves to whoever wants it, as it was locked.
RUN npm pkg set "dependencies.@kubernetes/client-node=$(npm pkg get 'devDependencies.@kubernetes/client-node' | tr -d '"')" \
 && npm pkg delete devDependencies peerDependencies peerDependenciesMeta \
 && npm prune --no-audit --no-fund
RUN mkdir -p /opt/vxlane/build \
 && cp -r dist node_modules package.json LICENSE /opt/vxlane/ \
 && cp build/release.wasm build/scalar.wasm build/sink.wasm /opt/vxlane/build/ \
 && cp deploy/flannel-traffic-rules.sh /opt/vxlane/ \
 && chmod 755 /opt/vxlane/dist/src/cli/main.js

FROM node:22-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends iproute2 iptables \
 && rm -rf /var/lib/apt/lists/* /usr/local/lib/node_modules /opt/yarn* \
      /usr/local/bin/npm /usr/local/bin/npx /usr/local/bin/corepack /usr/local/bin/yarn /usr/local/bin/yarnpkg
COPY --from=build /opt/vxlane /opt/vxlane
RUN ln -s /opt/vxlane/dist/src/cli/main.js /usr/local/bin/vxlane \
 && ln -s /opt/vxlane/flannel-traffic-rules.sh /usr/local/bin/flannel-traffic-rules
# Nursery and helper threads of the collector: 20 MB less of memory with thousands of members, and no change is slower for it.
ENV NODE_OPTIONS="--max-semi-space-size=2 --v8-pool-size=1"
ENTRYPOINT ["vxlane"]
CMD ["flannel"]
