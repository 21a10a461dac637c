//! Requests to the worker itself.

use super::{
    MockWorker,
    outbox::Answer,
    refusal::Refusal,
    registry::{Kind, Object},
    router::Router,
    web_rtc_server::WebRtcServer,
};
use crate::channel::{
    fbs::{
        request::Body,
        response,
        worker::{
            ChannelMessageHandlers, CreateWebRtcServerRequest, DumpResponse, ResourceUsageResponse,
            UpdateSettingsRequest,
        },
    },
    method::Method,
};

impl MockWorker {
    pub(super) fn worker_request(&mut self, method: Method, body: Option<Body>) -> Answer {
        match (method, body) {
            (Method::WorkerDump, _) => {
                Ok(Some(response::Body::WorkerDumpResponse(Box::new(self.dump()))))
            }
            (Method::WorkerGetResourceUsage, _) => Ok(Some(
                response::Body::WorkerResourceUsageResponse(Box::new(self.resource_usage())),
            )),
            (Method::WorkerUpdateSettings, Some(Body::WorkerUpdateSettingsRequest(body))) => {
                self.update_settings(*body)
            }
            (
                Method::WorkerCreateWebrtcserver,
                Some(Body::WorkerCreateWebRtcServerRequest(body)),
            ) => self.create_web_rtc_server(*body, method),
            (Method::WorkerWebrtcserverClose, Some(Body::WorkerCloseWebRtcServerRequest(body))) => {
                if self.close_web_rtc_server(&body.web_rtc_server_id) {
                    Ok(None)
                } else {
                    Err(Refusal::missing("WebRtcServer", method))
                }
            }
            (Method::WorkerCreateRouter, Some(Body::WorkerCreateRouterRequest(body))) => {
                self.create_router(body.router_id, method)
            }
            (Method::WorkerCloseRouter, Some(Body::WorkerCloseRouterRequest(body))) => {
                if self.close_router(&body.router_id) {
                    Ok(None)
                } else {
                    Err(Refusal::missing("Router", method))
                }
            }
            _ => Err(Refusal::unknown_method(method)),
        }
    }

    fn dump(&self) -> DumpResponse {
        DumpResponse {
            pid: self.pid,
            web_rtc_server_ids: self.registry.ids(&[Kind::WebRtcServer]),
            router_ids: self.registry.ids(&[Kind::Router]),
            channel_message_handlers: Box::new(ChannelMessageHandlers {
                channel_request_handlers: self.registry.ids(&[]),
                channel_notification_handlers: self.registry.ids(&[
                    Kind::Transport,
                    Kind::Producer,
                    Kind::DataProducer,
                ]),
            }),
        }
    }

    /// Figures of a small idle worker that uses a millisecond per message.
    fn resource_usage(&self) -> ResourceUsageResponse {
        ResourceUsageResponse {
            ru_utime: self.clock,
            ru_stime: self.clock / 4,
            ru_maxrss: 32_768,
            ru_minflt: 4_096,
            ru_nvcsw: self.clock,
            ..ResourceUsageResponse::default()
        }
    }

    fn update_settings(&mut self, body: UpdateSettingsRequest) -> Answer {
        if let Some(level) = body.log_level {
            self.settings
                .set_log_level(&level)
                .map_err(|error| Refusal::type_error(error.to_string()))?;
        }
        if let Some(tags) = body.log_tags {
            self.settings.set_log_tags(&tags);
        }
        for line in self.settings.printed() {
            self.outbox.log(line);
        }
        Ok(None)
    }

    fn create_web_rtc_server(&mut self, body: CreateWebRtcServerRequest, method: Method) -> Answer {
        let id = body.web_rtc_server_id;
        if self.registry.web_rtc_server(&id).is_some() {
            return Err(Refusal::duplicate("a WebRtcServer with same webRtcServerId", method));
        }
        let listen_infos = body.listen_infos.unwrap_or_default();
        if listen_infos.is_empty() {
            return Err(Refusal::type_error("wrong listenInfos (empty array)"));
        }
        let sockets = listen_infos
            .iter()
            .map(|info| self.host.listen(info, &self.settings))
            .collect::<Result<_, _>>()?;
        self.registry.check_free(&id)?;
        let server = WebRtcServer { id: id.clone(), sockets, transports: Vec::new() };
        self.registry.insert(id, Object::WebRtcServer(Box::new(server)));
        Ok(None)
    }

    fn create_router(&mut self, id: String, method: Method) -> Answer {
        if self.registry.router(&id).is_some() {
            return Err(Refusal::duplicate("a Router with same routerId", method));
        }
        self.registry.check_free(&id)?;
        let router = Router { id: id.clone(), ..Router::default() };
        self.registry.insert(id, Object::Router(Box::new(router)));
        Ok(None)
    }
}
