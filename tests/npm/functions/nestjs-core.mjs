// @nestjs/core, @nestjs/platform-express: serves a request by a controller with an injected service
// => {"status":200,"body":{"hello":"me"}}
import "reflect-metadata";
import { Controller, Get, Injectable, Module, Param } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";

const decorate = (decorators, target, key) => {
  const descriptor = key && Object.getOwnPropertyDescriptor(target, key);
  for (const decorator of decorators) decorator(target, key, descriptor);
};
class Greetings {
  greet(name) {
    return { hello: name };
  }
}
Injectable()(Greetings);
class Hello {
  constructor(greetings) {
    this.greetings = greetings;
  }
  get(name) {
    return this.greetings.greet(name);
  }
}
Reflect.defineMetadata("design:paramtypes", [Greetings], Hello);
Controller()(Hello);
Param("name")(Hello.prototype, "get", 0);
decorate([Get("hello/:name")], Hello.prototype, "get");
class App {}
Module({ controllers: [Hello], providers: [Greetings] })(App);

export const handler = async () => {
  const app = await NestFactory.create(App, { logger: false });
  await app.listen(0, "127.0.0.1");
  const response = await fetch(`${await app.getUrl()}/hello/me`);
  const answer = { status: response.status, body: await response.json() };
  await app.close();
  return answer;
};
